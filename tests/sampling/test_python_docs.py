import inspect
import json
import random
import textwrap
from collections import Counter
from functools import cache
from pydoc_data.topics import topics

from hypothesis import given
from hypothesis import strategies as st

from disk import on_disk
from strategies import in_turns, keeps, rejects

modules = st.dictionaries(
    st.sampled_from(["a.py", "c.py", "a/b.py", "a/__init__.py", "b/a.py", "ab.py"]),
    st.sampled_from(["One.", "Two.", "Three.\n\n    Indented,\n      twice."]),
    min_size=1,
    max_size=4,
)


def source(docstring):
    """A module that fails when run, and explains a method."""
    return f'''
class A:
    def f(self, x=1):
        """{docstring}"""
raise SystemExit
'''.encode()


@given(modules)
def test_docstrings_once_and_clean(python_docs, docstrings):
    with on_disk({path: source(text) for path, text in docstrings.items()}) as root:
        documents = list(python_docs.docstrings(root))
    expected = {}
    for path in sorted(docstrings, key=lambda path: (path.count("/"), path)):
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        expected.setdefault(inspect.cleandoc(docstrings[path]), f"{name}.A.f(self, x=1)")
    assert documents == [f"{name}\n\n{text}" for text, name in expected.items()]


LONG = "é" * 5000
KINDS = f'''# -*- coding: latin-1 -*-
"""A module, café."""
class Outer(object):
    """Outer."""
    class Inner:
        """Inner."""
        async def _private(self, *args: int, key="a", **more) -> None:
            """one."""
    def method(self):
        """One."""
        def within():
            """Seen by nobody."""
async def waits(a, /, b=None, *, c):
    """{LONG}"""
def bare():
    pass
raise SystemExit
'''.encode("latin-1")
FOUND = {
    "kinds": "A module, café.",
    "kinds.Outer": "Outer.",
    "kinds.Outer.Inner": "Inner.",
    "kinds.Outer.Inner._private(self, *args: int, key='a', **more)": "one.",
    "kinds.Outer.method(self)": "One.",
    "kinds.waits(a, /, b=None, *, c)": LONG,
}


@given(st.sampled_from(["kinds.py", "kinds/__init__.py"]))
def test_every_kind_is_found(python_docs, path):
    """Twice in turns: neither keeps a docstring from the other."""
    with on_disk({path: KINDS}) as root, keeps():
        found = in_turns(python_docs.docstrings(root), python_docs.docstrings(root))
    expected = [f"{name}\n\n{text}" for name, text in FOUND.items()]
    assert found == [expected, expected]


@given(
    modules,
    st.sampled_from(
        [
            "test",
            "a/tests",
            "a/idle_test",
            "site-packages",
            "dist-packages",
            "_bundled",
            "idlelib",
            "turtledemo",
            "lib2to3",
            "distutils",
            "encodings",
        ]
    ),
)
def test_tests_stay_out(python_docs, docstrings, outside):
    with on_disk({path: source(text) for path, text in docstrings.items()}) as root:
        expected = list(python_docs.docstrings(root))
        (root / outside).mkdir(parents=True)
        (root / outside / "a.py").write_bytes(source("Outside."))
        assert list(python_docs.docstrings(root)) == expected


@given(st.sampled_from(["absent", "a.py"]))
def test_rejects_no_sources(python_docs, name):
    with on_disk({"a.py": b""}) as root, rejects("folder", root / name):
        list(python_docs.docstrings(root / name))


@cache
def documentation(python_docs):
    with keeps():
        return python_docs.python_docs()


@given(st.sampled_from([json.dumps, textwrap.dedent, random.Random.shuffle, Counter.most_common]))
def test_python_explains_itself(python_docs, known):
    documents = documentation(python_docs)
    assert len(set(documents)) == len(documents)
    assert 1e6 < sum(map(len, documents)) < 4e6
    assert topics["yield"].strip() in documents
    name = f"{known.__module__.removesuffix('.__init__')}.{known.__qualname__}("
    found = [document for document in documents if document.startswith(name)]
    assert [document.partition("\n\n")[2] for document in found] == [inspect.getdoc(known)]
