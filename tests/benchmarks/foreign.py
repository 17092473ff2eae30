"""How often the diagnosis is right on code that was not made from the book's.

Each file in `tests/benchmarks/foreign` holds an implementation in the style of a well-known
project, with an adapter where its names or axes are others, and faults in it, each as a text and
what stands in its place. `expected` are the mistakes that say the same as a fault; a fault without
any says what no mistake of the page says, and then no name is right. What the diagnosis says of
the sound implementation already, that it checks no arguments say, is not counted for or against it.

Every third fault is held back: `--held` tries those and no others, and `--open` the rest.

Run by `nox -s foreign`, which adds what it saw to docs/assets/diagnosis.json.
"""

import argparse
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from gptspec_laws import book
from litspec import plugin
from litspec.judge import Verdict, judge_object

FOLDER = Path(__file__).with_name("foreign")
RECORD = Path("docs/assets/diagnosis.json")
LEAST, MOST = 0.8, 0.03  # right, and wrong
# Left out for time: the laws at real sizes, in 16 bits, of memory and of layouts in it.
SHORT = "not real_sizes and not half_precision and not pure and not forgets and not compiles"


def verdict(concept: str, code: str, name: str) -> Verdict:
    """Return what the laws say of a text that is a module."""
    module = ModuleType(name)
    exec(compile(code, f"<{name}>", "exec"), vars(module))
    page = book().concepts[concept]
    with patch.object(plugin, "TOLD", 0):  # nobody reads the counterexamples
        return judge_object(book(), page, module, "--examples=12", f"-k={SHORT}", seconds=0)


def outcome(named: list[str], expected: list[str]) -> str:
    """Return whether the first name is right; no name is right where none is expected.

    Examples:
        >>> outcome(["a", "b"], ["a"]), outcome(["b"], ["a"]), outcome([], ["a"]), outcome([], [])
        ('right', 'wrong', 'none', 'right')
    """
    if not named:
        return "none" if expected else "right"
    return "right" if named[0] in expected else "wrong"


def trials(file: Path, held: bool | None) -> Iterator[dict[str, Any]]:
    """Yield for each fault of a file what the diagnosis says of it."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    concept, code = content["concept"], content["code"]
    sound = verdict(concept, code, file.stem)
    before = {mistake.name for mistake, _ in sound.likely}
    broken = {one["law"] for one in sound.broken}
    print(f"{file.stem}: sound, breaks {', '.join(broken) or 'nothing'}", flush=True)
    for at, fault in enumerate(content["fault"]):
        if held is not None and held != (at % 3 == 2):
            continue
        assert code.count(fault["old"]) == 1, fault["story"]
        faulty = code.replace(fault["old"], fault["new"])
        found = verdict(concept, faulty, f"{file.stem}_{at}")
        named = [one.name for one, _ in found.likely if one.name not in before]
        yield {
            "implementation": file.stem,
            "fault": fault["story"],
            "held": at % 3 == 2,
            "expected": fault["expected"],
            "named": named,
            "alike": [round(score, 2) for one, score in found.likely if one.name in named],
            "laws": [one["law"] for one in found.broken if one["law"] not in broken],
            "outcome": outcome(named, fault["expected"]),
        }


def main() -> int:
    """Try all faults, or those of the files named; with all, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--open", action="store_true")
    asked = parser.parse_args()
    held = True if asked.held else False if asked.open else None
    found: list[dict[str, Any]] = []
    for file in sorted(FOLDER.glob("*.toml")):
        if asked.files and file.stem not in asked.files:
            continue
        for one in trials(file, held):
            print(
                f"  {one['outcome']:6} {one['fault']}\n         expected "
                f"{', '.join(one['expected']) or 'nothing'}, named "
                f"{', '.join(one['named']) or 'nothing'} {one['alike']}\n"
                f"         breaks {', '.join(one['laws'])}",
                flush=True,
            )
            found.append(one)
    counts = Counter(one["outcome"] for one in found)
    shares = {word: counts[word] / len(found) for word in ("right", "wrong", "none")}
    print(", ".join(f"{word} {share:.1%}" for word, share in shares.items()), "of", len(found))
    if held is None and not asked.files:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        record["foreign"] = found
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if shares["right"] >= LEAST and shares["wrong"] <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
