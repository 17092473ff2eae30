"""Mutation testing: change the code in thousands of small ways. Do its laws and tests notice?

`nox -s mutants` runs this file. mutmut makes the mutants and runs the laws on each, as
`[tool.mutmut]` in pyproject.toml says; what is here chooses what answers for which module, and
writes the record. It takes hours of one core, so `nox -s mutants -- gpt/block litspec` does some
modules anew and leaves the record of the others as it was, with the code that they were seen in.
"""

import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

KNOWN = Path("tests/benchmarks/survivors.toml")
RECORDS = (Path("build/mutants.json"), Path("docs/assets/mutants.json"))
# The rooms of litspec that decide something, and the tests that answer for each. Its commands start
# programs, and its blocks and its plugin run inside others: seconds for each mutant. These are left
# out.
LITSPEC = {
    "adapting": ("adapting",),
    "check": ("check",),
    "diagnosis": ("diagnosis", "scoring"),
    "new": ("new",),
    "outcomes": ("outcomes",),
    "pages": ("check", "pages"),
    "patches": ("check", "pages"),
    "report": ("report",),
    "sources": ("report",),
}


def modules() -> dict[str, Path]:
    """Return the modules that are changed, by the names that the record has."""
    package = Path("src/gptspec")
    files = sorted(one for one in package.glob("*/*.py") if one.stem != "__init__")
    concepts = [*files, package / "files.py", package / "session.py"]
    return {one.relative_to(package).with_suffix("").as_posix(): one for one in concepts} | {
        f"litspec/{name}": Path(f"src/litspec/{name}.py") for name in LITSPEC
    }


def answering(name: str) -> list[Path]:
    """Return the files whose tests answer for a module; for a concept, its own law file alone."""
    part, _, last = name.rpartition("/")
    if part == "litspec":
        return [Path(f"tests/litspec/test_{one}.py") for one in LITSPEC[last]]
    if name == "session":
        return [Path(f"tests/commands/test_{one}.py") for one in ("session", "documents", "cli")]
    return [Path("tests", part, f"test_{last}.py")]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Let a law answer for its own concept alone, while mutmut notes which functions it calls.

    Concepts use each other. That a broken `layer_norm` breaks a law of `block` is no merit of the
    laws of `layer_norm`, which are all that a reader's own `layer_norm` is judged by.
    """
    from mutmut.state import state

    file = Path(item.nodeid.partition("::")[0])
    own = {dotted(module) for name, module in modules().items() if file in answering(name)}
    called: set[str] = state()._stats
    called.intersection_update([name for name in called if name.rpartition(".")[0] in own])


def dotted(module: Path) -> str:
    """Return the name by which a module is imported."""
    return ".".join(module.relative_to("src").with_suffix("").parts)


def run(names: Iterable[str]) -> None:
    """Make the mutants of some modules that are tested in one way, and run them."""
    from mutmut import configuration
    from mutmut.__main__ import cli
    from mutmut.state import reset_state

    shutil.rmtree("mutants", ignore_errors=True)
    reset_state()
    configuration.reset_config()
    usual = configuration.config()
    files = sorted({str(file) for name in names for file in answering(name)})
    only = [str(modules()[name]) for name in names]
    skipped = [one for one in usual.pytest_add_cli_args_test_selection if "::" in one]
    skipped = [one for one in skipped if one.partition("=")[2].partition("::")[0] in files]
    changed = replace(
        usual, only_mutate=only, pytest_add_cli_args_test_selection=[*files, *skipped]
    )
    if all(name.startswith("litspec/") for name in names):
        # The plugin that runs these tests would be a mutant itself: they do without it.
        alone = ["-p", "no:litspec", "--confcutdir=tests/litspec", "-p", "pytester"]
        theirs = ("--reference", "--hypothesis-profile")
        own = [one for one in usual.pytest_add_cli_args if not one.startswith(theirs)]
        changed = replace(
            changed,
            source_paths=[Path("src/litspec")],
            resolved_mutated_source_paths=[Path("mutants/src/litspec").resolve()],
            also_copy=[*usual.also_copy, Path("src/gptspec"), Path("src/gptspec_laws")],
            pytest_add_cli_args=[*own, *alone],
        )
    configuration._config = changed
    cli.main(["run", "--max-children", os.environ.get("CORES", "2")], standalone_mode=False)


Survivor = dict[str, str]


def read() -> tuple[dict[str, list[int]], list[Survivor]]:
    """Return how many mutants of each module were killed, of how many, and those that were not.

    A mutant that runs into the time limit or crashes is killed; one that no law calls is not.
    """
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    names = {file: name for name, file in modules().items()}
    seen: dict[str, list[int]] = {}
    survivors: list[Survivor] = []
    for file in sorted(walk_mutatable_files()):
        mutants = SourceFileMutationData(path=file)
        mutants.load()
        module = names[file]
        for key, code in mutants.exit_code_by_key.items():
            status = status_by_exit_code[code]
            if status in {"not checked", "check was interrupted by user"}:
                sys.exit(f"{key}: {status}")
            alive = status in {"survived", "no tests"}
            killed, total = seen.get(module, (0, 0))
            seen[module] = [killed + (not alive), total + 1]
            if alive:
                function, owner = orig_function_and_class_names_from_key(key)
                diff = get_diff_for_mutant(key, path=file).splitlines()
                survivors.append(
                    {
                        "name": f"{module} {owner}.{function}" if owner else f"{module} {function}",
                        "file": str(file),
                        "diff": "\n".join(line for line in diff[3:] if line[0] in "+-"),
                    }
                )
    return seen, survivors


def mark(files: Iterable[Path]) -> str:
    """Return a short hash of files, so that a record says what it was seen in."""
    content = b"\0".join(file.read_bytes() for file in files if file.exists())
    return hashlib.sha256(content).hexdigest()[:16]


def judge(seen: dict[str, list[int]], survivors: list[Survivor]) -> dict[str, Any]:
    """Return the record: what was there, with what was seen now in its place."""
    old: dict[str, Any] = json.loads(RECORDS[1].read_text(encoding="utf-8"))
    there = modules()
    marks = {name: {"code": mark([there[name]]), "laws": mark(answering(name))} for name in seen}
    concepts = {name: counts for name, counts in (old["concepts"] | seen).items() if name in there}
    known = {
        diff.strip(): group["reason"]
        for group in tomllib.loads(KNOWN.read_text(encoding="utf-8"))["survivors"]
        for diff in group["mutants"]
    }
    kept = [one for one in old["survived"] if module_of(one) in concepts.keys() - seen.keys()]
    for survivor in survivors:
        survivor["reason"] = known.get(f"{survivor['name']}\n{survivor['diff']}", "")
    survivors = [*kept, *survivors]
    alive = {f"{survivor['name']}\n{survivor['diff']}" for survivor in survivors}
    for diff in known.keys() - alive:
        if diff.partition(" ")[0] in seen:
            print(f"\nno survivor, take it out of {KNOWN}:\n{diff}")
    killed, total = (sum(column) for column in zip(*concepts.values(), strict=True))
    return {
        "score": round(killed / total, 4),
        "killed": killed,
        "total": total,
        "seen": {name: metadata.version(name) for name in ("mutmut", "hypothesis", "torch")},
        "concepts": concepts,
        "marks": {
            name: one for name, one in (old.get("marks", {}) | marks).items() if name in there
        },
        "survived": sorted(survivors, key=lambda one: one["name"]),
    }


def since(record: dict[str, Any], name: str) -> str:
    """Return what changed of a module since its mutants were judged."""
    seen = record.get("marks", {}).get(name)
    if seen is None:
        return "code and laws"  # of records before marks were kept
    now = {"code": mark([modules()[name]]), "laws": mark(answering(name))}
    return " and ".join(kind for kind in now if now[kind] != seen[kind]) or "–"


def module_of(survivor: Survivor) -> str:
    """Return the module that a survivor lives in."""
    return survivor["name"].partition(" ")[0]


def main(*asked: str) -> None:
    """Make the mutants and run them, of all modules or only those named, and write the record."""
    names = [
        name
        for name in modules()
        if not asked or any(name == one or name.startswith(f"{one}/") for one in asked)
    ]
    if not names:
        sys.exit(f"no module is named like {', '.join(asked)}")
    sys.path.insert(0, str(Path(__file__).parent.resolve()))  # for mutmut's pytest: -p mutants
    # What tests start on their own runs the mutants too.
    os.environ["PYTHONPATH"] = str(Path("mutants/src").resolve())
    parts = ["concepts", "session", "litspec"]
    for part in parts:
        own = [
            name
            for name in names
            if part == next((one for one in parts[1:] if name.startswith(one)), parts[0])
        ]
        if own:
            run(own)
            write(judge(*read()), own)


def write(record: dict[str, Any], names: list[str]) -> None:
    """Write the record, and name the survivors among some modules that have no reason."""
    for file in RECORDS:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    killed, total = (sum(record["concepts"][name][at] for name in names) for at in (0, 1))
    print(f"{killed} of {total} mutants killed: {killed / total:.1%}")
    unexplained = [
        one for one in record["survived"] if not one["reason"] and module_of(one) in names
    ]
    for one in unexplained:
        print(f"\n{one['name']}\n{one['diff']}")
    if unexplained:
        print(f"\n{len(unexplained)} survivors without a reason in {KNOWN}")


if __name__ == "__main__":
    main(*sys.argv[1:])
