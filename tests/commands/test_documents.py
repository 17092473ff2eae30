"""What the pages outside the book promise: the tutorial's file, and the fences that run."""

import re
import tomllib
from pathlib import Path

import pytest

from litspec import judge as judging
from litspec.pages import Project

ROOT = Path(__file__).parents[2]


def steady(verdict):
    """A verdict without what each edit of a page moves: lines, and how many examples were tried."""
    return re.sub(r"(?<=\.md:)\d+|(?<= on )\d+ of \d+(?= examples)", "...", verdict)


@pytest.mark.slow
def test_the_file_of_the_tutorial_is_judged_as_the_page_says(tmp_path):
    text = (ROOT / "docs/yours.md").read_text(encoding="utf-8")
    [source] = re.findall(r'```python title="mine.py"[^\n]*\n(.*?)```', text, re.DOTALL)
    file = tmp_path / "mine.py"
    file.write_text(source, encoding="utf-8")
    project = Project.find(ROOT)
    [verdict] = judging.judge(project, {"attention/causal": str(file)})
    told = str(verdict)
    [shown] = re.findall(r"```text\n(attention/causal: .*?)\n\.\.\.\n```", text, re.DOTALL)
    assert steady(told).startswith(steady(shown))


@pytest.mark.slow
def test_the_adapter_of_the_tutorial_is_judged_as_the_page_says(tmp_path):
    text = (ROOT / "docs/yours.md").read_text(encoding="utf-8")
    for name in ("model", "multihead"):
        [source] = re.findall(rf'```python title="{name}.py"[^\n]*\n(.*?)```', text, re.DOTALL)
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    project = Project.find(ROOT)
    file = str(tmp_path / "multihead.py")
    [verdict] = judging.judge(project, {"attention/multihead": file}, explain=False)
    [shown] = re.findall(r"```text\n(attention/multihead: .*?)```", text, re.DOTALL)
    assert steady(str(verdict)).startswith(steady(shown.rstrip()))


def test_every_python_fence_on_a_page_runs():
    """Sybil runs fences that say exactly python; markdown-exec those with exec; none is left."""
    for page in (ROOT / "docs").rglob("*.md"):
        inside = False
        for line in page.read_text(encoding="utf-8").splitlines():
            if re.match(r" *(`{3,}|~{3,})", line):
                info = line.strip().lstrip("`~").strip()
                if not inside and info.startswith("python"):
                    assert info == "python" or "exec=" in info, (page, line)
                inside = not inside if not line.strip().startswith("````") else inside


def test_every_law_of_the_precision_lists_exists():
    lists = tomllib.loads((ROOT / "tests/precision.toml").read_text(encoding="utf-8"))
    laws = {law.id for one in Project.find(ROOT).concepts.values() for law in one.page.laws}
    for entries in lists.values():
        listed = [law for entry in entries for law in entry["laws"]]
        assert len(listed) == len(set(listed))
        assert set(listed) <= laws
