"""How many faults the laws see that were written by someone who had not seen the laws.

Mutation testing and the book's own mistakes are figures that the laws can be tuned to. These
faults cannot: who wrote them had read a concept's story and its code, but neither its laws nor its
mistakes. Each file `tests/benchmarks/faults/PART-NAME.toml` holds the faults of one concept as
diffs, as they were written, and they stay when a law is added that catches one; `first = false`
then says that at first sight it lived, and `mended` names the law.

Run by `nox -s faults`, which writes docs/assets/faults.json for the site.
"""

import json
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litspec.judge import run
from litspec.outcomes import Outcome
from litspec.pages import Concept, Mistake, Project

FOLDER = Path(__file__).with_name("faults")
SEEN = {Outcome.FAILED, Outcome.CRASHED}


def trials(project: Project, concept: Concept) -> Iterator[dict[str, Any]]:
    """Yield what the laws of a concept say of each of its faults."""
    file = FOLDER / f"{concept.path.replace('/', '-')}.toml"
    faults = tomllib.loads(file.read_text(encoding="utf-8"))["fault"] if file.exists() else []
    for fault in faults:
        mistake = Mistake(f"{concept.name}.{fault['name']}", (), fault["diff"], fault["story"], 0)
        with tempfile.TemporaryDirectory() as folder:
            code = Path(folder) / f"{concept.name}.py"
            source = concept.module.read_text(encoding="utf-8")
            code.write_text(mistake.apply(source), encoding="utf-8")
            yours = f"--yours={concept.path}={code}"
            seen = run(project, [concept], yours, "--examples=50", "--law-seconds=60")
        laws = [one["law"] for one in seen.get(concept.path, []) if one["outcome"] in SEEN]
        yield {
            "fault": mistake.id,
            "story": fault["story"],
            "caught": bool(laws),
            "first": fault.get("first", bool(laws)),
            "laws": laws[:5],
            "mended": fault.get("mended", ""),
        }


def main(paths: list[str]) -> int:
    """Try the faults of all concepts, or of those named; with all, write the record."""
    project = Project.find(Path.cwd())
    found: list[dict[str, Any]] = []
    for path in paths or project.concepts:
        for one in trials(project, project.concepts[path]):
            print(f"{one['fault']:48} {', '.join(one['laws']) or 'LIVED'}", flush=True)
            found.append(one)
    if not found:
        print("no faults are written down")
        return 1
    first, now = (sum(one[kind] for one in found) for kind in ("first", "caught"))
    print(f"{first} of {len(found)} caught at first sight, {now} now")
    if not paths:
        record = {"first": first / len(found), "now": now / len(found), "faults": found}
        file = project.docs / "assets" / "faults.json"
        text = json.dumps(record, indent=1, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")
    return 0 if now == len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
