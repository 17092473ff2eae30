"""A report depends on all that a run depends on, and on nothing else."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litspec import report as reports
from litspec.pages import Project
from litspec.sources import closure

MODULE = "src/toy/arithmetic/double.py"
LAWS = "tests/arithmetic/test_double.py"
# Files that a run depends on, by the kind under which their change is told; two that it does not.
FILES = {
    MODULE: "module",
    LAWS: "laws",
    "src/toy/direct.py": "imports",
    "src/toy/indirect/__init__.py": "imports",
    "src/toy/indirect/deep.py": "imports",
    "src/toy/late.py": "imports",
    "tests/drawn.py": "helpers",
    "tests/conftest.py": "helpers",
    "tests/arithmetic/conftest.py": "helpers",
    "tests/peers/other/arithmetic/double.py": "adapter:other",
    "src/toy/unused.py": None,
    "tests/arithmetic/test_other.py": None,
    "docs/index.md": None,
}


@pytest.fixture
def wide(book):
    """The toy book; its concept imports directly, through others, and when it is called."""
    for name in FILES:
        file = book.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text("# Something\n")
    (book.root / "src/toy/direct.py").write_text("from .indirect import deep\n")
    text = (book.root / MODULE).read_text()
    late = "def later():\n    import toy.late\n    import numpy\n"
    (book.root / MODULE).write_text(f"from toy import direct\n{text}\n\n{late}")
    laws = (book.root / LAWS).read_text()
    (book.root / LAWS).write_text(f"import drawn\n{laws}")
    return book


def marks(book):
    project = Project.find(book.root)
    return reports.fingerprints(project, project.concepts["arithmetic/double"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(sorted(FILES)), max_size=3, unique=True))
def test_a_changed_file_changes_its_kind_and_no_other(wide, names):
    before = marks(wide)
    texts = {name: (wide.root / name).read_bytes() for name in names}
    for name in names:
        (wide.root / name).write_bytes(texts[name] + b"# changed\n")
    after = marks(wide)
    for name in names:
        (wide.root / name).write_bytes(texts[name])
    changed = {kind for kind in after if after[kind] != before[kind]}
    assert changed == {FILES[name] for name in names} - {None}
    assert marks(wide) == before


def test_the_closure_is_what_is_imported_however_it_is_written(wide):
    project = Project.find(wide.root)
    found = {project.relative(file) for file in closure(project, wide.root / MODULE)}
    assert found == {
        MODULE, "src/toy/__init__.py", "src/toy/direct.py", "src/toy/late.py",
        "src/toy/indirect/__init__.py", "src/toy/indirect/deep.py",
    }  # fmt: skip
    (wide.root / "src/toy/late.py").write_text("def broken(\n")
    assert closure(project, wide.root / MODULE)
    (wide.root / "src/toy/late.py").write_bytes(b"# caf\xe9\n")
    assert closure(project, wide.root / MODULE)
    (wide.root / "src/toy/late.py").write_text("from toy.arithmetic import double  # a circle\n")
    assert len(closure(project, wide.root / MODULE)) == len(found) + 1


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("Twice a number.", "Twice a number.\n\nAnd more prose.", False),
        ("## Laws\n", "## What holds\n", False),
        ("is even.", "is even, always.", None),
        ("+    return 2 * number + 1", "+    return 2 * number + 3", True),
        ("caught-by: double.is-even", "caught-by: double.rejects-text", True),
        ("law | double.is-even", "law | double.is-odd", True),
    ],
)
def test_the_page_counts_by_what_it_states(book, old, new, changes):
    before = marks(book)
    book.edit("docs/arithmetic/double.md", old, new)
    after = marks(book)
    assert {kind for kind in after if after[kind] != before[kind]} <= {"page"}
    assert changes is None or (after != before) == changes


def result(law, implementation, outcome="passed"):
    kind = "mistake" if ":" in implementation else "reference"
    return {"law": law, "implementation": implementation, "outcome": outcome, "kind": kind}


GOOD = [
    result("is-even", "reference"), result("rejects-text", "reference"),
    result("is-even", "mistake:plus-one", "caught"),
    result("rejects-text", "mistake:unchecked", "caught"),
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.permutations(GOOD), st.integers(0, 4), st.booleans())
def test_runs_of_parts_join_to_a_whole(book, order, cut, again):
    project = Project.find(book.root)
    concept = project.concepts["arithmetic/double"]
    file = book.root / "build/joined.json"
    file.unlink(missing_ok=True)
    reports.update(file, project, {concept.path: order[:cut]})
    complete = reports.stale(project, concept, reports.read(file)) == ""
    assert complete == (cut == 4)
    reports.update(file, project, {concept.path: order[cut:] + order[:1] * again})
    assert reports.stale(project, concept, reports.read(file)) == ""
    kept = json.loads(file.read_text())["concepts"][concept.path]["results"]
    assert sorted(map(str, kept)) == sorted(map(str, GOOD))
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("outcome", ["failed", "crashed", "survived", "skipped", "not run"])
def test_one_bad_result_makes_a_report_stale(book, at, outcome):
    project = Project.find(book.root)
    concept = project.concepts["arithmetic/double"]
    seen = [one | {"outcome": outcome} if place == at else one for place, one in enumerate(GOOD)]
    report = {concept.path: {"fingerprints": marks(book), "results": seen}}
    law, implementation = GOOD[at]["law"], GOOD[at]["implementation"]
    wanted = f"double.{law} on {implementation}: {outcome}"
    assert reports.stale(project, concept, report) == wanted
