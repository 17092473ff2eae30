import inspect
import json
import random
import textwrap
from collections import Counter
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from disk import on_disk
from strategies import rejects

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


@given(modules, st.sampled_from(["test", "a/tests", "site-packages", "encodings"]))
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
    return python_docs.python_docs()


@given(st.sampled_from([json.dumps, textwrap.dedent, random.Random.shuffle, Counter.most_common]))
def test_python_explains_itself(python_docs, known):
    documents = documentation(python_docs)
    assert len(set(documents)) == len(documents)
    assert 1e6 < sum(map(len, documents)) < 4e6
    assert any(document.startswith('The "yield" statement') for document in documents)
    name = f"{known.__module__.removesuffix('.__init__')}.{known.__qualname__}("
    found = [document for document in documents if document.startswith(name)]
    assert [document.partition("\n\n")[2] for document in found] == [inspect.getdoc(known)]
