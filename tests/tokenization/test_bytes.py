import builtins

from hypothesis import example, given
from hypothesis import strategies as st

from strategies import in_turns, keeps, owned, rare_texts, rejects, remembered, texts

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
@rare_texts()
def test_round_trip(bytes, text):
    assert read(bytes, bytes.encode(text)) == text


@given(texts())
@rare_texts()
def test_one_id_a_byte(bytes, text):
    ids = bytes.encode(text)
    assert all(0 <= id < 256 for id in ids)
    assert ids == utf_8(text)


@given(texts(), texts())
@example(text="e", more="\u0301")
@rare_texts(more="\ufeff'\u0301 a")
def test_joins_side_by_side(bytes, text, more):
    assert bytes.encode(text + more) == bytes.encode(text) + bytes.encode(more)


@given(any_ids)
@example(ids=[128])
@example(ids=[0xED, 0xA0, 0x80, 0xED, 0xB0, 0x80])  # two halves of a character
@example(ids=[*range(256)] * 20)
def test_any_bytes_are_text(bytes, ids):
    text = read(bytes, ids)
    assert isinstance(text, str)
    assert not any("\ud800" <= character < "\ue000" for character in text)
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


# Where a byte can not follow, what stood before it ends; RFC 3629 says which can.
FALSE_STARTS = [[0xC1, 0x80], [0xE0, 0x80], [0xED, 0xA0], [0xF0, 0x80], [0xF4, 0x90], [0xF5, 0x80]]


@given(texts(), broken_ids, texts())
@example(before="\ufffd", broken=[0x80], after="\ufffd")
@example(before="a" * 5000, broken=[0xFF], after="é" * 5000)
def test_damage_stays_local(bytes, before, broken, after):
    assert read(bytes, utf_8(before) + broken + utf_8(after)) == before + "\ufffd" + after
    for two in FALSE_STARTS:
        assert read(bytes, utf_8(before) + two + utf_8(after)) == before + "\ufffd" * 2 + after


def show(stream, portions):
    """Yield what a stream shows of each portion, and at its end."""
    for portion in portions:
        yield stream.feed(builtins.bytes(portion))
    yield stream.finish()


portions = st.lists(any_ids, max_size=4)


@given(portions)
@example(portions=[[0xF0], [], [0x9F, 0x99], [], [0x82]])
@example(portions=[[0xF0, 0x9F], [0xC3], [0xA9], [0x80], [0xE2]])
@example(portions=[[0xEF], [0xBB, 0xBF], [0x61], [0xEF, 0xBB, 0xBF]])  # byte order marks
@example(portions=[[0xF0, 0x9F, 0x99]] + [[0x82, 0xF0, 0x9F, 0x99]] * 2000)
@example(portions=[[*"naïve 日本 🙂".encode()] * 500, [0xE2, 0x82]])
def test_stream_is_whole(bytes, portions):
    ids = [id for portion in portions for id in portion]
    stream = bytes.StreamDecoder()
    assert "".join(show(stream, portions)) == read(bytes, ids)
    assert "".join(show(stream, portions)) == read(bytes, ids)  # it can begin again


@given(portions, portions)
@example(portions=[[0xE2, 0x82], [0xAC]], others=[[0x61], [0x62]])
def test_streams_are_apart(bytes, portions, others):
    alone = [list(show(bytes.StreamDecoder(), each)) for each in (portions, others)]
    streams = [show(bytes.StreamDecoder(), each) for each in (portions, others)]
    assert in_turns(*streams) == alone


@given(texts(), st.lists(st.integers(0, 255), max_size=12))
@rare_texts(ids=[226, 130, 172, 130])
def test_leaves_no_trace(bytes, text, ids):
    with keeps(ids):
        assert read(bytes, iter(ids)) == read(bytes, ids)
        owned(lambda: bytes.encode(text))


@given(st.sampled_from([True, False]))
def test_forgets(bytes, encoding):
    def call(number):
        text = f"{number} is a number of its own"
        return bytes.encode(text) if encoding else bytes.decode(utf_8(text))

    assert remembered(call) < 0.5


@given(texts())
@rare_texts()
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


@given(byte_ids, st.integers(max_value=-1) | st.integers(min_value=256), byte_ids)
@example(ids=[], wrong=-1, more=[255, 0])
@example(ids=[97], wrong=256, more=[])
def test_rejects_ids(bytes, ids, wrong, more):
    with rejects("ids", wrong):
        bytes.decode([*ids, wrong, *more])


@given(texts(), st.characters(categories=["Cs"]), texts())
@example(before="", surrogate="\ud800", after="")
@example(before="é", surrogate="\udbff", after="\udc00")
@example(before="", surrogate="\udc00", after="a")
@example(before="", surrogate="\udc80", after="")  # how Python keeps a byte it could not read
@example(before="a" * 10_000, surrogate="\udfff", after="")
def test_rejects_half_characters(bytes, before, surrogate, after):
    with rejects("text", repr(surrogate), f"position {len(before)}"):
        bytes.encode(before + surrogate + after)


@given(st.sampled_from([None, 7, ["a", "list"]]))
def test_rejects_other_types(bytes, wrong):
    with rejects("text"):
        bytes.encode(wrong)
    with rejects("token_bytes"):
        bytes.StreamDecoder().feed(wrong)
