"""Mutation testing: change the concepts' code in thousands of small ways. Do their laws notice?

`nox -s mutants` runs this file. mutmut makes the mutants and runs the laws on each, as
`[tool.mutmut]` in pyproject.toml says; what is here chooses the laws and writes the record.
"""

import json
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path("src/gptspec")
KNOWN = Path("tests/benchmarks/survivors.toml")
RECORDS = (Path("build/mutants.json"), Path("docs/assets/mutants.json"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Let a law answer for its own concept alone, while mutmut notes which functions it calls.

    Concepts use each other. That a broken `layer_norm` breaks a law of `block` is no merit of the
    laws of `layer_norm`, which are all that a reader's own `layer_norm` is judged by.
    """
    from mutmut.state import state

    path = Path(item.nodeid.partition("::")[0]).relative_to("tests")
    concept = ".".join(("gptspec", *path.parent.parts, path.stem.removeprefix("test_")))
    called: set[str] = state()._stats
    called.intersection_update([name for name in called if name.rpartition(".")[0] == concept])


Survivor = dict[str, str]


def read() -> tuple[dict[str, list[int]], list[Survivor]]:
    """Return how many mutants of each concept were killed, of how many, and those that were not.

    A mutant that runs into the time limit or crashes is killed; one that no law calls is not.
    """
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    concepts: dict[str, list[int]] = {}
    survivors: list[Survivor] = []
    for file in sorted(walk_mutatable_files()):
        mutants = SourceFileMutationData(path=file)
        mutants.load()
        concept = file.relative_to(PACKAGE).with_suffix("").as_posix()
        for name, code in mutants.exit_code_by_key.items():
            status = status_by_exit_code[code]
            if status in {"not checked", "check was interrupted by user"}:
                sys.exit(f"{name}: {status}")
            alive = status in {"survived", "no tests"}
            killed, total = concepts.get(concept, (0, 0))
            concepts[concept] = [killed + (not alive), total + 1]
            if alive:
                function, owner = orig_function_and_class_names_from_key(name)
                diff = get_diff_for_mutant(name, path=file).splitlines()
                survivors.append(
                    {
                        "name": f"{concept} {owner}.{function}"
                        if owner
                        else f"{concept} {function}",
                        "file": str(file),
                        "diff": "\n".join(line for line in diff[3:] if line[0] in "+-"),
                    }
                )
    return concepts, survivors


def judge(concepts: dict[str, list[int]], survivors: list[Survivor]) -> dict[str, Any]:
    """Return the record: the score, and each survivor with the reason why it may live."""
    known = {
        diff.strip(): group["reason"]
        for group in tomllib.loads(KNOWN.read_text(encoding="utf-8"))["survivors"]
        for diff in group["mutants"]
    }
    for survivor in survivors:
        survivor["reason"] = known.get(f"{survivor['name']}\n{survivor['diff']}", "")
    seen = {f"{survivor['name']}\n{survivor['diff']}" for survivor in survivors}
    for diff in known.keys() - seen:
        print(f"\nno survivor, take it out of {KNOWN}:\n{diff}")
    killed, total = (sum(column) for column in zip(*concepts.values(), strict=True))
    return {
        "score": round(killed / total, 4),
        "killed": killed,
        "total": total,
        "seen": {name: metadata.version(name) for name in ("mutmut", "hypothesis", "torch")},
        "concepts": concepts,
        "survived": survivors,
    }


def main(*names: str) -> None:
    """Make the mutants and run them, all anew or only those named, and write the record."""
    from mutmut.__main__ import cli

    if not names:
        shutil.rmtree("mutants", ignore_errors=True)
    sys.path.insert(0, str(Path(__file__).parent.resolve()))  # for mutmut's pytest: -p mutants
    cli.main(["run", *names], standalone_mode=False)
    record = judge(*read())
    for file in RECORDS:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{record['killed']} of {record['total']} mutants killed: {record['score']:.1%}")
    unexplained = [one for one in record["survived"] if not one["reason"]]
    for one in unexplained:
        print(f"\n{one['name']}\n{one['diff']}")
    if unexplained:
        sys.exit(f"\n{len(unexplained)} survivors without a reason in {KNOWN}")


if __name__ == "__main__":
    main(*sys.argv[1:])
