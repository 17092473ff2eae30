"""A book of one concept, small enough to break in every way."""

from pathlib import Path

import pytest

FILES = {
    "pyproject.toml": """
        [tool.litspec]
        package = "toy"
        [tool.pytest.ini_options]
        pythonpath = ["src"]
        addopts = "--import-mode=importlib"
        """,
    "mkdocs.yml": """
        site_name: toy
        nav:
          - index.md
          - Arithmetic:
              - arithmetic/double.md
        plugins: []
        markdown_extensions:
          - pymdownx.superfences
          - litspec.blocks
        """,
    "docs/index.md": "# Toy",
    "docs/arithmetic/double.md": """
        # Double

        Twice a number.

        ```python
        >>> from toy.arithmetic.double import double
        >>> double(2)
        4
        ```

        ## Laws

        /// law | double.is-even
        The double of a number is even.
        ///

        /// law | double.rejects-text
        A text is a `TypeError`.
        ///

        ## Mistakes

        /// mistake | double.plus-one
            caught-by: double.is-even

        ```diff
        -    return 2 * number
        +    return 2 * number + 1
        ```
        One too many.
        ///

        /// mistake | double.unchecked
            caught-by: double.rejects-text

        ```diff
        -    if isinstance(number, str):
        -        raise TypeError("number must not be a text")
        ```
        A text is written twice.
        ///
        """,
    "src/toy/__init__.py": "",
    "src/toy/arithmetic/__init__.py": "",
    "src/toy/arithmetic/double.py": '''
        """Doubling."""


        def double(number):
            """Return twice a number."""
            if isinstance(number, str):
                raise TypeError("number must not be a text")
            return 2 * number
        ''',
    "tests/arithmetic/test_double.py": """
        from hypothesis import given, settings
        from hypothesis import strategies as st


        @settings(database=None, derandomize=True, max_examples=20)
        @given(st.integers())
        def test_is_even(double, number):
            assert double.double(number) % 2 == 0


        def test_rejects_text(double):
            try:
                double.double("a")
            except TypeError:
                return
            raise AssertionError("accepted a text")
        """,
}


class Book:
    """The toy project on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            lines = text.strip("\n").splitlines()
            indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(line[indent:] for line in lines) + "\n", encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        (self.root / name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def book(tmp_path, monkeypatch) -> Book:
    monkeypatch.chdir(tmp_path)
    return Book(tmp_path)


@pytest.fixture
def run(book, pytester, monkeypatch):
    """Run the book's suite in this process; `pytester` comes with a folder of its own to leave."""
    monkeypatch.chdir(book.root)
    options = ("-p", "no:jaxtyping", "--rootdir", str(book.root), "-c", "pyproject.toml")
    return lambda *arguments: pytester.runpytest_inprocess(*options, *arguments)
