"""What the laws say of code that was not written for them: strangers' GPTs and tokenizers.

`tests/strangers/WHO/CONCEPT.py` holds the adapters, none of more than twelve lines of code. None
of the strangers' code lies in this repository. Packages are imported where they are installed. The
adapters in `nanogpt` speak to a file `model.py`: nanoGPT's, where the path of a copy is given, and
else `tests/strangers/stand_in/model.py`, which was written here with the same interface.

Run by `nox -s strangers -- path/to/nanoGPT/model.py`, which writes docs/assets/strangers.json.
"""

import argparse
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from gptspec_laws import judge
from litspec.implementations import LoadError, load
from litspec.judge import Verdict
from litspec.outcomes import Outcome
from litspec.pages import LawKind

FOLDER = Path(__file__).parents[1] / "strangers"
LONGEST = 12  # lines of code of an adapter, without imports and docstring
# What these packages import on the way, and none of what is judged needs.
UNNEEDED = ("datasets", "dotenv", "eztils", "tqdm")
DISTRIBUTIONS = {"nano_gpt": "nano-gpt", "llms_from_scratch": "llms-from-scratch"}


def lines(file: Path) -> int:
    """Return how many lines of code an adapter has, without its imports and its docstring."""
    text = file.read_text(encoding="utf-8").partition('"""\n')[2]
    code = [line for line in text.splitlines() if line.strip()]
    return sum(not line.startswith(("import ", "from ")) for line in code)


def told(who: str, concept: str, verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it is written down."""
    broken = [
        {
            "law": one["law"],
            "kind": next(law.kind for law in verdict.concept.page.laws if law.name == one["law"]),
            "error": one.get("error", "").partition("\n")[0],
        }
        for one in verdict.broken
    ]
    kinds = {law.name: law.kind for law in verdict.concept.page.laws}
    asked = [one for one in verdict.results if one["outcome"] in (Outcome.PASSED, *FELL)]
    mathematics = [one for one in asked if kinds[one["law"]] is LawKind.MATHEMATICS]
    return {
        "who": who,
        "concept": concept,
        "lines": lines(FOLDER / who / f"{concept}.py"),
        "mathematics": [
            sum(one["outcome"] == Outcome.PASSED for one in mathematics), len(mathematics)
        ],
        "laws": [verdict.passed, len(asked)],
        "not_offered": sum(one["outcome"] == Outcome.NOT_OFFERED for one in verdict.results),
        "broken": broken,
    }  # fmt: skip


FELL = (Outcome.FAILED, Outcome.CRASHED)


def main() -> int:
    """Judge all strangers that are here; write the record, and fail where an adapter is long."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, help="the path of nanoGPT's model.py")
    parser.add_argument("--only", default="", help="adapters whose path contains this")
    asked = parser.parse_args()
    for name in UNNEEDED:
        if find_spec(name) is None:
            sys.modules[name] = MagicMock()
    stand_in = FOLDER / "stand_in" / "model.py"
    sys.path.insert(0, str((asked.model or stand_in).resolve().parent))
    found = []
    for file in sorted(
        FOLDER.glob("*/*/*.py"), key=lambda file: (file.parts[-3] != "nanogpt", file)
    ):
        who, concept = file.parts[-3], "/".join(file.parts[-2:]).removesuffix(".py")
        if asked.only not in str(file):
            continue
        try:
            module = load(file, f"strangers.{who}.{file.stem}")
        except LoadError as error:
            print(f"{who:18} {concept:22} {error}")
            continue
        one = told(who, concept, judge(module, concept, explain=False))
        found.append(one)
        held, count = one["mathematics"]
        print(
            f"{who:18} {concept:22} {one['lines']:2} lines, mathematics {held} of {count}, all "
            f"{one['laws'][0]} of {one['laws'][1]}, {one['not_offered']} not offered",
            flush=True,
        )
        for fell in one["broken"]:
            print(f"    {fell['kind']:12} {fell['law']:32} {fell['error']}")
    if asked.model and not asked.only:
        write(found)
    return 0 if found and all(one["lines"] <= LONGEST for one in found) else 1


def write(found: list[dict[str, Any]]) -> None:
    """Write down what was found, and in which versions."""
    versions = {who: _version(who) for who in {one["who"] for one in found} - {"nanogpt"}}
    record = {"versions": versions, "strangers": found}
    text = json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)
    Path("docs/assets/strangers.json").write_text(text + "\n", encoding="utf-8")


def _version(who: str) -> str:
    try:
        return version(DISTRIBUTIONS.get(who, who))
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
