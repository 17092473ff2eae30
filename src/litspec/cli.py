"""Start a book or a concept, list what it states, check that it is bound, judge your own code."""

import difflib
import json
import os
import runpy
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import tyro

from litspec import judge as judging
from litspec import report as reports
from litspec.adapting import propose
from litspec.check import check as find
from litspec.exercise import exercise as write_exercise
from litspec.implementations import substitute
from litspec.init import init as start
from litspec.new import new as write
from litspec.pages import Concept, Project

app = tyro.extras.SubcommandApp()


@app.command(name="list")
def list_concepts(as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """List every concept with its laws and mistakes, in reading order.

    Args:
        as_json: Print JSON: concepts with page, module, laws (with statement) and mistakes.
    """
    project = find_book()
    if as_json:
        print(to_json(project))
        return 0
    for concept in project.concepts.values():
        laws, mistakes = len(concept.page.laws), len(concept.page.mistakes)
        print(f"{concept.path:28} {laws:3} laws {mistakes:3} mistakes  {concept.page.summary}")
    laws = sum(len(concept.page.laws) for concept in project.concepts.values())
    mistakes = sum(len(concept.page.mistakes) for concept in project.concepts.values())
    print(f"{len(project.concepts)} concepts, {laws} laws, {mistakes} mistakes")
    return 0


def to_json(project: Project) -> str:
    """Return every concept, with paths relative to the project."""
    concepts = [
        {
            "concept": concept.path,
            "title": concept.page.title,
            "summary": concept.page.summary,
            **{
                kind: file.relative_to(project.root).as_posix()
                for kind, file in {
                    "page": concept.page.file,
                    "module": concept.module,
                    "law_file": concept.law_file,
                }.items()
            },
            "laws": [
                {"id": law.id, "kind": law.kind, "statement": law.statement, "line": law.line}
                for law in concept.page.laws
            ],
            "mistakes": [
                {"id": mistake.id, "caught_by": list(mistake.caught_by), "line": mistake.line}
                for mistake in concept.page.mistakes
            ],
        }
        for concept in project.concepts.values()
    ]
    return json.dumps(concepts, indent=1, ensure_ascii=False)


@app.command
def check(report: bool = False) -> int:
    """Check that pages, modules and law files agree; print every finding, exit 1 if there is one.

    Args:
        report: Check also that the report of the laws is fresh, complete and without failures.
    """
    project = find_book()
    lines = [
        f"{finding.file.relative_to(project.root)}:{finding.line}: {finding.message}"
        for finding in find(project)
    ]
    if report:
        seen = reports.read(reports.path(project))
        lines += [
            f"{concept.law_file.relative_to(project.root)}:1: {why}"
            for concept in project.concepts.values()
            if (why := reports.stale(project, concept, seen))
        ]
    for line in lines:
        print(line)
    print(f"{len(project.concepts)} concepts, {len(lines)} findings")
    return 1 if lines else 0


@app.command
def new(path: tyro.conf.Positional[str]) -> int:
    """Start a concept: its page, module and law file, and its place in the navigation.

    Args:
        path: Where it stands, for example attention/talking_heads.
    """
    project = find_book()
    for file in write(project, path):
        print(f"wrote {file.relative_to(project.root)}")
    print("next: fill in each TODO that `litspec check` names, then run pytest on the law file")
    return 0


@app.command
def init(folder: tyro.conf.Positional[Path] = Path(), package: str | None = None) -> int:
    """Start a new book: pages, modules and laws of two small concepts, all green.

    Args:
        folder: Where it goes; this folder unless another is named.
        package: The name of its package; the folder's name if not given.
    """
    for file in start(folder, package):
        print(f"wrote {file.relative_to(folder.resolve())}")
    print("next: pip install nox, then nox -s tests site in that folder")
    return 0


@app.command
def exercise(paths: tyro.conf.Positional[tuple[str, ...]], into: Path = Path("exercises")) -> int:
    """Write exercises: modules with signatures and docstrings, whose bodies are yours to write.

    Args:
        paths: Concepts, for example attention/causal.
        into: The folder for them.
    """
    project = find_book()
    for path in paths:
        file = write_exercise(project, concept_at(project, path), into)
        print(f"wrote {file}")
        print(f"next: fill it in, then litspec judge {file}")
    return 0


@app.command
def judge(
    what: tyro.conf.Positional[tuple[str, ...]],
    seconds: float = 20.0,
    explain: bool = True,
    dtype: str | None = None,
) -> int:
    """Judge your own code by the laws: a file, a folder of files, or an importable module.

    Args:
        what: A concept and a file, as in: attention/causal my_file.py. A file whose path ends like
            a concept's needs no concept, and a folder is searched for all of them.
        seconds: Time limit of each law.
        explain: When a law is broken, look for the mistake that the code resembles.
        dtype: In which numbers, float32 say, where the laws' conftest.py has such an option.
    """
    if not 1 <= len(what) <= 2:
        raise ValueError("say what to judge: litspec judge attention/causal my_file.py")
    project = find_book()
    *concept, target = what
    verdicts = judging.judge(
        project,
        judging.targets(project, concept[0] if concept else None, target),
        *([f"--dtype={dtype}"] if dtype else []),
        seconds=seconds,
        explain=explain,
    )
    for verdict in verdicts:
        print(verdict)
    done = sum(
        verdict.passed == len(verdict.results) and not verdict.unwritten for verdict in verdicts
    )
    if len(verdicts) > 1:
        print(f"{done} of {len(verdicts)} concepts keep all their laws")
    return 0 if done == len(verdicts) else 1


@app.command
def adapt(
    concept: tyro.conf.Positional[str], file: tyro.conf.Positional[Path], out: Path | None = None
) -> int:
    """Begin an adapter: read a file, and write what in it answers to a concept, and what not yet.

    Args:
        concept: The concept, for example attention/multihead.
        file: The file with the code; its neighbours are found when it is judged.
        out: Where the adapter goes, best beside the file; printed if not given.
    """
    project = find_book()
    text = propose(project, concept_at(project, concept), file)
    if out is None:
        print(text, end="")
        return 0
    if out.exists():
        raise ValueError(f"{out} is there already: choose another name, or move it away first")
    out.write_text(text, encoding="utf-8")
    print(f"wrote {out}")
    print(f"next: look at each TODO, then litspec judge {concept} {out}")
    return 0


@app.command
def progress(folder: tyro.conf.Positional[Path] = Path("exercises"), seconds: float = 20.0) -> int:
    """Show how far the exercises are: laws kept of all laws, by concept, in reading order.

    Args:
        folder: Where the exercises lie; nothing else is remembered.
        seconds: Time limit of each law.
    """
    project = find_book()
    found = judging.targets(project, None, str(folder))
    verdicts = {
        verdict.concept.path: verdict
        for verdict in judging.judge(project, found, seconds=seconds, explain=False)
    }
    kept = total = 0
    for path, concept in project.concepts.items():
        passed = verdicts[path].passed if path in verdicts else 0
        laws = len(concept.page.laws)
        bar = "█" * (20 * passed // laws)
        print(f"{path:28} {passed:3} of {laws:3} {bar:20} {'' if path in found else 'not begun'}")
        kept, total = kept + passed, total + laws
    print(f"{kept} of {total} laws")
    return 0


@app.command(name="run")
def run_with(
    module: tyro.conf.Positional[str],
    arguments: tyro.conf.Positional[tuple[str, ...]] = (),
    using: Path = Path("exercises"),
) -> int:
    """Run a program of the package with your own modules in place of the reference's.

    Args:
        module: The program, for example gptspec.cli.
        arguments: What it is given; put -- before options.
        using: Your modules, each named like its concept; where one is absent the reference serves.
    """
    project = find_book()
    if not using.is_dir():
        raise ValueError(f"{using} is no folder: start with litspec exercise")
    replaced = substitute(project, using)
    print(f"yours: {', '.join(replaced) or 'none'}", file=sys.stderr)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except ValueError:  # the program's own, and no refusal of ours
        traceback.print_exc()
        return 1
    return 0


def find_book() -> Project:
    """Return the book of this folder, or else the one that is installed.

    Raises:
        ValueError: If there is neither, or several are installed.
    """
    try:
        return Project.find(Path.cwd())
    except ValueError as error:
        books = list(entry_points(group="litspec.books"))
        if len(books) != 1:
            raise ValueError(f"{error}, and {len(books)} books are installed") from error
        found: Project = books[0].load()()
        return found


def concept_at(project: Project, path: str) -> Concept:
    """Return the concept at a path, or refuse in a way that helps."""
    if path not in project.concepts:
        near = difflib.get_close_matches(path, project.concepts, 1, 0.4)
        hint = f": did you mean {near[0]}?" if near else ": see litspec list"
        raise ValueError(f"there is no concept {path!r}{hint}")
    return project.concepts[path]


def main() -> None:
    """Run the command line; bad input is one line and exit code 2."""
    try:
        sys.exit(
            app.cli(prog="litspec", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
        )
    except ValueError as error:
        print(f"litspec: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
