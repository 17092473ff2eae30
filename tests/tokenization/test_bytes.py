import builtins

from hypothesis import example, given
from hypothesis import strategies as st

from strategies import rejects, texts

byte_ids = st.lists(st.integers(0, 255), max_size=12)
any_ids = byte_ids | texts(8).map(lambda text: list(text.encode("utf-8")))


def utf_8(text):
    """Write UTF-8 by its definition: a leading byte, then six bits a byte."""
    ids = []
    for code in map(ord, text):
        if code < 0x80:
            ids += [code]
        elif code < 0x800:
            ids += [0b11000000 + code // 64, 0b10000000 + code % 64]
        elif code < 0x10000:
            ids += [0b11100000 + code // 64**2, *(0b10000000 + code // 64**i % 64 for i in (1, 0))]
        else:
            ids += [0b11110000 + code // 64**3]
            ids += [0b10000000 + code // 64**i % 64 for i in (2, 1, 0)]
    return ids


def read(bytes, ids):
    """Decode, and tell a crash as a broken law."""
    try:
        return bytes.decode(ids)
    except UnicodeError as error:
        raise AssertionError(f"decoding raised {error}") from error


@given(texts())
@example(text="\ufeff")
@example(text="e\u0301")
@example(text="a\r\nb")
def test_round_trip(bytes, text):
    assert read(bytes, bytes.encode(text)) == text


@given(texts())
def test_one_id_a_byte(bytes, text):
    ids = bytes.encode(text)
    assert all(0 <= id < 256 for id in ids)
    assert ids == utf_8(text)


@given(texts(), texts())
@example(text="e", more="\u0301")
def test_joins_side_by_side(bytes, text, more):
    assert bytes.encode(text + more) == bytes.encode(text) + bytes.encode(more)


@given(any_ids)
@example(ids=[128])
def test_any_bytes_are_text(bytes, ids):
    text = read(bytes, ids)
    assert isinstance(text, str)
    assert len(text) <= len(ids)
    assert (text == "") == (ids == [])


broken_ids = (
    st.integers(0x80, 0xC1).map(lambda byte: [byte])
    | st.integers(0xF5, 0xFF).map(lambda byte: [byte])
    | st.sampled_from("é日🙂").flatmap(
        lambda character: st.integers(1, len(utf_8(character)) - 1).map(
            lambda count: utf_8(character)[:count]
        )
    )
)


@given(texts(), broken_ids, texts())
def test_damage_stays_local(bytes, before, broken, after):
    assert read(bytes, utf_8(before) + broken + utf_8(after)) == before + "\ufffd" + after


@given(any_ids, st.data())
def test_stream_is_whole(bytes, ids, data):
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=4).map(sorted), "cuts")
    stream = bytes.StreamDecoder()
    text = ""
    for start, stop in zip([0, *cuts], [*cuts, len(ids)], strict=True):
        text += stream.feed(builtins.bytes(ids[start:stop]))
    assert text + stream.finish() == read(bytes, ids)


@given(texts())
def test_stream_is_prompt(bytes, text):
    stream = bytes.StreamDecoder()
    shown = ""
    for character in text:
        *first, last = utf_8(character)
        assert [stream.feed(builtins.bytes([id])) for id in first] == [""] * len(first)
        shown += stream.feed(builtins.bytes([last]))
        assert shown[-1:] == character
    assert shown == text
    assert stream.finish() == ""


@given(byte_ids, st.integers(max_value=-1) | st.integers(min_value=256))
def test_rejects_ids(bytes, ids, wrong):
    with rejects("ids", wrong):
        bytes.decode([*ids, wrong])


@given(texts(), st.characters(categories=["Cs"]), texts())
def test_rejects_half_characters(bytes, before, surrogate, after):
    with rejects("text", repr(surrogate), f"position {len(before)}"):
        bytes.encode(before + surrogate + after)


@given(st.sampled_from([None, 7, ["a", "list"]]))
def test_rejects_other_types(bytes, wrong):
    with rejects("text"):
        bytes.encode(wrong)
    with rejects("token_bytes"):
        bytes.StreamDecoder().feed(wrong)
