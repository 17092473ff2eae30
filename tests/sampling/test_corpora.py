import html
import inspect
import json
import math
import random
import re
import textwrap
from collections import Counter, defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import rejects

seeds = st.integers(0, 2**32 - 1)
lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=9)
articles = st.lists(lines, min_size=1, max_size=3).map("\n".join).filter(str.strip)
paths = st.sampled_from(["a.txt", "b.MD", "a/b.rst", "b/a.py", "ab.txt", "a/c/a.md", "b.a.py"])
folders = st.dictionaries(paths, articles.map(str.encode), min_size=1, max_size=4)
unreadable = st.sampled_from(
    [("a", "photo.txt", b"\x89PNG\r\n"), ("a", "old.txt", "café".encode("latin-1")),
     ("b", "wide.md", "hello".encode("utf-16")), ("b", "zeros.py", b"text\0\0"),
     ("a", "cut.ipynb", b'{"cells": ['), ("a", "list.ipynb", b"[]"), ("b", "bare.ipynb", b"{}"),
     ("b", "cell.ipynb", b'{"cells": [{}]}')]
)  # fmt: skip


@contextmanager
def folder(files):
    """A folder, below a hidden one as in ~/.cache, that holds `files`."""
    with TemporaryDirectory() as name:
        root = Path(name, ".cache", "articles")
        root.mkdir(parents=True)
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        yield root


@given(folders)
def test_texts_by_name(corpora, files):
    in_order = sorted(files, key=lambda path: path.split("/"))
    with folder(files) as root:
        texts, skipped = corpora.read_folder(root)
        alone = [corpora.read_folder(root / path) for path in in_order]
    assert texts == [files[path].decode() for path in in_order]
    assert skipped == []
    assert alone == [([text], []) for text in texts]


@given(articles)
def test_saved_on_windows_is_the_same(corpora, article):
    with folder({"a.txt": b"\xef\xbb\xbf" + article.replace("\n", "\r\n").encode()}) as root:
        assert corpora.read_folder(root)[0] == [article]


@given(st.lists(articles, min_size=1, max_size=3), st.booleans())
def test_outputs_stay_out(corpora, cells, as_lines):
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "source": cell.splitlines(keepends=True) if as_lines else cell,
                "outputs": [{"output_type": "stream", "text": ["printed"]}],
            }
            for cell in cells
        ]
    }
    with folder({"a.ipynb": json.dumps(notebook).encode()}) as root:
        assert corpora.read_folder(root)[0] == ["\n\n".join(cells)]


@given(st.lists(st.lists(st.sampled_from(["tea", "R&D", "a<b", "naïve", "    if x:\n  X"]),
                         min_size=1, max_size=3), min_size=1, max_size=3))  # fmt: skip
def test_html_is_what_is_shown(corpora, paragraphs):
    page = "<html><head><style>p {color: red}</style></head><body><!-- hidden -->"
    shown = []
    for words in paragraphs:
        flow = [word for word in words if "\n" not in word]
        page += "<p>" + "\n  ".join(
            f"<b>{html.escape(word[0])}</b>{html.escape(word[1:])}" for word in flow
        )
        page += "</p><script>if (a < b) write('<p>no</p>')</script>"
        page += "<template><template><p>no</p></template><p>no</p></template>"
        shown += [" ".join(flow)] if flow else []
        for code in [word for word in words if "\n" in word]:
            page += f"<pre>\n{html.escape(code)}\n</pre>"
            shown.append(code)
    with folder({"a.html": page.encode()}) as root:
        assert corpora.read_folder(root)[0] == ["\n\n".join(shown)]


@given(folders, st.sampled_from([".git/a.txt", ".ipynb_checkpoints/b-checkpoint.md", "a/.c.py"]))
def test_hidden_stays_out(corpora, files, hidden):
    with folder(files | {hidden: b"hidden"}) as root:
        try:
            texts, skipped = corpora.read_folder(root)
        except ValueError as error:
            raise AssertionError("finds nothing in a folder below a hidden one") from error
    assert Counter(texts) == Counter(content.decode() for content in files.values())
    assert skipped == []


@given(folders, unreadable)
def test_rejects_unreadable(corpora, files, wrong):
    where, name, content = wrong
    with folder(files | {f"{where}/{name}": content}) as root, rejects(root / where / name):
        corpora.read_folder(root)


@given(folders, unreadable)
def test_skips_and_reports(corpora, files, wrong):
    where, name, content = wrong
    with folder(files | {f"{where}/{name}": content, "empty.py": b" \n"}) as root:
        texts, skipped = corpora.read_folder(root, unreadable="skip")
        assert sorted(skipped) == sorted([root / where / name, root / "empty.py"])
        for path in skipped:
            path.unlink()
        assert texts == corpora.read_folder(root)[0]


@given(st.sampled_from(["absent", "a", "b"]))
def test_rejects_no_text(corpora, path):
    with folder({"a/picture.png": b"\x89PNG", "b/empty.txt": b""}) as root, rejects(root / path):
        corpora.read_folder(root / path)


@given(lines.filter(lambda choice: choice not in ("error", "skip")))
def test_rejects_unknown_choice(corpora, choice):
    with folder({"a.txt": b"\xff", "b.txt": b"text"}) as root, rejects("unreadable", repr(choice)):
        corpora.read_folder(root, unreadable=choice)


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
def test_docstrings_once_and_clean(corpora, docstrings):
    with folder({path: source(text) for path, text in docstrings.items()}) as root:
        documents = list(corpora.docstrings(root))
    expected = {}
    for path in sorted(docstrings, key=lambda path: (path.count("/"), path)):
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        expected.setdefault(inspect.cleandoc(docstrings[path]), f"{name}.A.f(self, x=1)")
    assert documents == [f"{name}\n\n{text}" for text, name in expected.items()]


@given(modules, st.sampled_from(["test", "a/tests", "site-packages", "encodings"]))
def test_tests_stay_out(corpora, docstrings, outside):
    with folder({path: source(text) for path, text in docstrings.items()}) as root:
        expected = list(corpora.docstrings(root))
        (root / outside).mkdir(parents=True)
        (root / outside / "a.py").write_bytes(source("Outside."))
        assert list(corpora.docstrings(root)) == expected


@given(st.sampled_from(["absent", "a.py"]))
def test_rejects_no_sources(corpora, name):
    with folder({"a.py": b""}) as root, rejects("folder", root / name):
        list(corpora.docstrings(root / name))


@cache
def python_docs(corpora):
    return corpora.python_docs()


@given(st.sampled_from([json.dumps, textwrap.dedent, random.Random.shuffle, Counter.most_common]))
def test_python_explains_itself(corpora, known):
    documents = python_docs(corpora)
    assert len(set(documents)) == len(documents)
    assert 1e6 < sum(map(len, documents)) < 4e6
    assert any(document.startswith('The "yield" statement') for document in documents)
    name = f"{known.__module__.removesuffix('.__init__')}.{known.__qualname__}("
    found = [document for document in documents if document.startswith(name)]
    assert [document.partition("\n\n")[2] for document in found] == [inspect.getdoc(known)]


mention = re.compile(r"{(\w+)}")


def derivations(grammar, pending, drawn, text=None):
    """Every way through the grammar, or every way that writes `text`: plain search."""
    literal, symbol, rest, *_ = [*mention.split(pending, maxsplit=1), "", ""]
    if text is not None and not text.startswith(literal):
        return
    text = None if text is None else text[len(literal) :]
    if not symbol:
        if not text:
            yield drawn
        return
    options = [drawn[symbol]] if symbol in drawn else range(len(grammar[symbol]))
    for option in options:
        chosen = grammar[symbol][option]
        yield from derivations(grammar, chosen + rest, drawn | {symbol: option}, text)


def probability(grammar, drawn):
    return 1 / math.prod(len(grammar[symbol]) for symbol in drawn)


@given(seeds, st.integers(0, 5), st.integers(0, 5))
def test_same_seed_same_stories(corpora, seed, count, more):
    few = corpora.stories(count, seed=seed)
    assert len(few) == count
    assert corpora.stories(count + more, seed=seed)[:count] == few


@given(seeds, st.integers(1, 3))
def test_other_seed_other_stories(corpora, seed, step):
    stories, others = (set(corpora.stories(8, seed=s)) for s in (seed, seed + step))
    assert not stories & others


@given(seeds)
def test_one_derivation(corpora, seed):
    for story in corpora.stories(5, seed=seed):
        assert len(list(derivations(corpora.GRAMMAR, "{story}", {}, story))) == 1, story


@given(st.data())
def test_entropy_is_exact(corpora, data):
    grammar, below = {}, []
    for symbol in ("c", "b", "a", "story"):
        options = st.lists(st.sampled_from(["x", *below]), max_size=2).map("".join)
        grammar[symbol] = data.draw(st.lists(options, min_size=1, max_size=3), symbol)
        below.append(f"{{{symbol}}}")
    chances = [probability(grammar, drawn) for drawn in derivations(grammar, "{story}", {})]
    entropy = -math.fsum(chance * math.log(chance) for chance in chances)
    assert math.isclose(corpora.story_entropy(grammar), entropy, abs_tol=1e-12)


@settings(max_examples=2)
@given(seeds)
def test_entropy_is_measured(corpora, seed):
    """Frequencies of every choice in 1,000 stories; Miller and Madow's correction for few draws."""
    choices = defaultdict(Counter)
    for story in corpora.stories(1000, seed=seed):
        for symbol, option in next(derivations(corpora.GRAMMAR, "{story}", {}, story)).items():
            choices[symbol][option] += 1
    measured = 0.0
    for counts in choices.values():
        total = counts.total()
        shares = [count / total for count in counts.values()]
        plain = -math.fsum(share * math.log(share) for share in shares)
        measured += total / 1000 * (plain + (len(counts) - 1) / (2 * total))
    assert abs(measured - corpora.story_entropy()) < 0.3


@given(st.integers(max_value=-1))
def test_rejects_count(corpora, count):
    with rejects("count", count):
        corpora.stories(count, seed=0)


half_character = st.just("\ud800")  # which a notebook may hold
documents = st.lists(st.integers(0, 99).map("text {}".format) | half_character, max_size=8)
sure = ["text 1", "text 2", "text 3", "text 4", "text 5", "text 6"]  # on both sides of a half


@given(documents, documents, st.floats(0.3, 0.7))
def test_content_decides(corpora, some, more, validation):
    train, held_back = corpora.split(some + sure, validation=validation)
    assert Counter(train + held_back) == Counter(some + sure)
    assert not set(train) & set(held_back)
    later_train, later_held_back = corpora.split(more + some + sure, validation=validation)
    assert later_train[len(later_train) - len(train) :] == train
    assert later_held_back[len(later_held_back) - len(held_back) :] == held_back


@given(seeds, st.sampled_from([0.05, 0.1, 0.3, 0.8]))
def test_share_is_kept(corpora, seed, validation):
    """Of 1,000 documents, within 6 standard errors; a tenth is the default."""
    options = {} if validation == 0.1 else {"validation": validation}
    held_back = corpora.split([f"{seed} {i}" for i in range(1000)], **options)[1]
    error = math.sqrt(validation * (1 - validation) / 1000)
    assert abs(len(held_back) / 1000 - validation) < 6 * error


@given(lines, st.integers(0, 3), st.floats(0.01, 0.99))
def test_rejects_empty_side(corpora, document, twins, validation):
    with rejects("validation", validation, f"{twins} documents"):
        corpora.split([document] * twins, validation=validation)


@given(st.floats(max_value=0) | st.floats(min_value=1) | st.just(math.nan))
def test_rejects_validation(corpora, validation):
    with rejects("validation", validation, "above 0 and below 1"):
        corpora.split(sure, validation=validation)


@given(lines)
def test_rejects_one_text(corpora, text):
    with rejects("documents", "one text"):
        corpora.split(text)
