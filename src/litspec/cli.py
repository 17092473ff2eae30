"""List what a book states, check that all of it is bound, start a concept."""

import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from litspec import report as reports
from litspec.check import check as find
from litspec.new import new as write
from litspec.pages import Project

app = tyro.extras.SubcommandApp()


@app.command(name="list")
def list_concepts(as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """List every concept with its laws and mistakes, in reading order.

    Args:
        as_json: Print JSON: concepts with page, module, laws (with statement) and mistakes.
    """
    project = Project.find(Path.cwd())
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
                {"id": law.id, "statement": law.statement, "line": law.line}
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
    project = Project.find(Path.cwd())
    lines = [
        f"{finding.file.relative_to(project.root)}:{finding.line}: {finding.message}"
        for finding in find(project)
    ]
    if report:
        seen = reports.read(reports.path(project))
        lines += [
            f"{concept.law_file.relative_to(project.root)}:1: {why}"
            for concept in project.concepts.values()
            if (why := reports.stale(concept, seen))
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
    project = Project.find(Path.cwd())
    for file in write(project, path):
        print(f"wrote {file.relative_to(project.root)}")
    print("next: fill in each TODO that `litspec check` names, then run pytest on the law file")
    return 0


def main() -> None:
    """Run the command line; bad input is one line and exit code 2."""
    try:
        sys.exit(
            app.cli(prog="litspec", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
        )
    except ValueError as error:
        print(f"litspec: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
