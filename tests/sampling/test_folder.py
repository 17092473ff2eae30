import html
import json
from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from disk import forbidden, in_words, on_disk
from strategies import keeps, rejects

lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=9)

articles = st.lists(lines, min_size=1, max_size=3).map("\n".join).filter(str.strip)

paths = st.sampled_from(
    ["a.txt", "b.MD", "a/b.rst", "b/a.py", "ab.txt", "a/c/a.md", "b.a.py", "a/b/c/d/e.txt"]
)

folders = st.dictionaries(paths, articles.map(str.encode), min_size=1, max_size=4)

HALF = ("a", "half.ipynb", b'{"cells": [{"source": "\\ud800"}]}')
unreadable = st.sampled_from(
    [("a", "photo.txt", b"\x89PNG\r\n"), ("a", "old.txt", "café".encode("latin-1")),
     ("b", "wide.md", "hello".encode("utf-16")), ("b", "zeros.py", b"text\0\0"),
     ("a", "cut.ipynb", b'{"cells": ['), ("a", "list.ipynb", b"[]"), ("b", "bare.ipynb", b"{}"),
     ("b", "cell.ipynb", b'{"cells": [{}]}'), ("b", "number.ipynb", b'{"cells": [{"source": 3}]}'),
     ("a", "deep.ipynb", b"[" * 20_000), HALF]
)  # fmt: skip


STRANGE = "cafe\u0301 \ufb01 \u00a0 a\ufeffb \t \u2028 \x85 \x0c 🙂 trailing  \n\n"


@example(
    files={"a.txt": STRANGE.encode(), "b.md": ("é" * 6000).encode(), "c.rst": STRANGE.encode()}
)
@example(files={f"{i // 50}/{i:03}.txt": f"text {i}".encode() for i in range(120)})
@given(folders)
def test_texts_by_name(folder, files):
    in_order = sorted(files, key=lambda path: path.split("/"))
    with on_disk(files) as root, keeps():
        texts, skipped = folder.read_folder(root)
        alone = [folder.read_folder(root / path) for path in in_order]
    assert texts == [files[path].decode() for path in in_order]
    assert skipped == []
    assert alone == [([text], []) for text in texts]


@given(articles)
def test_saved_on_windows_is_the_same(folder, article):
    with on_disk({"a.txt": b"\xef\xbb\xbf" + article.replace("\n", "\r\n").encode()}) as root:
        assert folder.read_folder(root)[0] == [article]


@given(st.lists(articles, min_size=1, max_size=3), st.booleans(),
       st.sampled_from(["code", "markdown", "raw"]))  # fmt: skip
def test_outputs_stay_out(folder, cells, as_lines, kind):
    notebook = {
        "cells": [
            {
                "cell_type": kind,
                "source": cell.splitlines(keepends=True) if as_lines else cell,
                "outputs": [{"output_type": "stream", "text": ["printed"]}],
            }
            for cell in cells
        ]
    }
    with on_disk({"a.ipynb": json.dumps(notebook).encode()}) as root:
        assert folder.read_folder(root)[0] == ["\n\n".join(cells)]


INLINE = (
    *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "del", "dfn", "em", "font", "i", "ins"),
    *("kbd", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt"),
    *("u", "var"),
)


@given(
    st.lists(
        st.lists(st.sampled_from(["tea", "R&D", "a<b", "naïve", "    if x:\n  X"]), min_size=1),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["a.html", "a.htm", "a.HTML"]),
)
def test_html_is_what_is_shown(folder, paragraphs, name):
    page = "<html><head><style>p {color: red}</style></head><body></script></pre><!-- hidden -->"
    page += "<p>" + "".join(f"w<{tag} id=x>o</{tag}>" for tag in INLINE) + "r<wbr>d</p>"
    shown = ["wo" * len(INLINE) + "rd"]
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
    page += "<h1>twice</h1><div>twice</div><ul><li>one<li>two</ul>last &amp; lost"
    shown += ["twice", "twice", "one", "two", "last & lost"]
    with on_disk({name: page.encode()}) as root:
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


@example(files={}, wrong=HALF)
@given(folders, unreadable)
def test_rejects_unreadable(folder, files, wrong):
    where, name, content = wrong
    with (
        on_disk(files | {f"{where}/{name}": content}) as root,
        rejects(root / where / name),
        in_words(),
    ):
        folder.read_folder(root)


@given(folders)
def test_rejects_forbidden(folder, files):
    name = sorted(files)[0]
    with on_disk({**files, "z.txt": b"readable"}) as root, forbidden(root / name):
        with rejects(root / name, "Permission denied"), in_words():
            folder.read_folder(root)
        assert folder.read_folder(root, unreadable="skip")[1] == [root / name]


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
