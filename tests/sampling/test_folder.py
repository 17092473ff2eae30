import html
import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from disk import on_disk
from strategies import rejects

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


@given(folders)
def test_texts_by_name(folder, files):
    in_order = sorted(files, key=lambda path: path.split("/"))
    with on_disk(files) as root:
        texts, skipped = folder.read_folder(root)
        alone = [folder.read_folder(root / path) for path in in_order]
    assert texts == [files[path].decode() for path in in_order]
    assert skipped == []
    assert alone == [([text], []) for text in texts]


@given(articles)
def test_saved_on_windows_is_the_same(folder, article):
    with on_disk({"a.txt": b"\xef\xbb\xbf" + article.replace("\n", "\r\n").encode()}) as root:
        assert folder.read_folder(root)[0] == [article]


@given(st.lists(articles, min_size=1, max_size=3), st.booleans())
def test_outputs_stay_out(folder, cells, as_lines):
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
    with on_disk({"a.ipynb": json.dumps(notebook).encode()}) as root:
        assert folder.read_folder(root)[0] == ["\n\n".join(cells)]


@given(st.lists(st.lists(st.sampled_from(["tea", "R&D", "a<b", "naïve", "    if x:\n  X"]),
                         min_size=1, max_size=3), min_size=1, max_size=3))  # fmt: skip
def test_html_is_what_is_shown(folder, paragraphs):
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
    with on_disk({"a.html": page.encode()}) as root:
        assert folder.read_folder(root)[0] == ["\n\n".join(shown)]


@given(folders, st.sampled_from([".git/a.txt", ".ipynb_checkpoints/b-checkpoint.md", "a/.c.py"]))
def test_hidden_stays_out(folder, files, hidden):
    with on_disk(files | {hidden: b"hidden"}) as root:
        try:
            texts, skipped = folder.read_folder(root)
        except ValueError as error:
            raise AssertionError("finds nothing in a folder below a hidden one") from error
    assert Counter(texts) == Counter(content.decode() for content in files.values())
    assert skipped == []


@given(folders, unreadable)
def test_rejects_unreadable(folder, files, wrong):
    where, name, content = wrong
    with on_disk(files | {f"{where}/{name}": content}) as root, rejects(root / where / name):
        folder.read_folder(root)


@given(folders, unreadable)
def test_skips_and_reports(folder, files, wrong):
    where, name, content = wrong
    with on_disk(files | {f"{where}/{name}": content, "empty.py": b" \n"}) as root:
        texts, skipped = folder.read_folder(root, unreadable="skip")
        assert sorted(skipped) == sorted([root / where / name, root / "empty.py"])
        for path in skipped:
            path.unlink()
        assert texts == folder.read_folder(root)[0]


@given(st.sampled_from(["absent", "a", "b"]))
def test_rejects_no_text(folder, path):
    with on_disk({"a/picture.png": b"\x89PNG", "b/empty.txt": b""}) as root, rejects(root / path):
        folder.read_folder(root / path)


@given(lines.filter(lambda choice: choice not in ("error", "skip")))
def test_rejects_unknown_choice(folder, choice):
    with on_disk({"a.txt": b"\xff", "b.txt": b"text"}) as root, rejects("unreadable", repr(choice)):
        folder.read_folder(root, unreadable=choice)
