"""Every task of the project: `nox` lists them, `nox -s NAME` runs one, arguments follow `--`."""

import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = []  # nothing runs unasked

TESTED = ("-c", "tests/tested.txt")  # the versions that were tested, so a run stays the same run


def install(session: nox.Session, *groups: str) -> None:
    """Install the project as it lies here, and dependency groups of pyproject.toml."""
    wanted = [argument for group in groups for argument in ("--group", group)]
    session.install("-e", ".", *wanted, *TESTED)


@nox.session
def demo(session: nox.Session) -> None:
    """Train a small GPT on Python's own documentation: about three minutes on two cores."""
    install(session)
    session.run("gptspec", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every law on the CPU, and the examples on the pages."""
    install(session, "tests", "site")
    session.run("pytest", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the same laws on a GPU, in the torch that finds it."""
    install(session, "tests", "site")
    probe = "import torch; print(torch.cuda.is_available())"
    if "True" not in str(session.run("python", "-c", probe, silent=True)):
        session.skip("torch sees no CUDA device here: the laws were not run")
    report = "build/laws-cuda.json"
    session.run("pytest", "tests", "--device=cuda", f"--laws-report={report}", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the site strictly into site/, running the laws first if their report is stale."""
    install(session, "tests", "site")
    if session.run("litspec", "check", "--report", success_codes=[0, 1], silent=True) is True:
        session.log("the report of the laws is fresh")
    session.run("python", "-m", "litspec", "check", "--report", success_codes=[0, 1])
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """Serve the site, built anew as pages change."""
    install(session, "tests", "site")
    session.run("mkdocs", "serve", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting (ruff), and that pages, laws and modules are bound."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("litspec", "check")


@nox.session
def types(session: nox.Session) -> None:
    """Check all types (mypy, strict)."""
    install(session, "tests", "site", "types")
    session.run("mypy", *session.posargs)
