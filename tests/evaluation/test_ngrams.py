import math

from hypothesis import example, given
from hypothesis import strategies as st

from strategies import keeps, rejects, sizes, texts


def documents():
    """A few texts, not all of them empty."""
    return st.lists(texts(12), min_size=1, max_size=3).filter(any)


def words(min_size=1):
    """Texts of two letters, in which much repeats."""
    text = st.text("ab", min_size=1, max_size=6)
    return st.lists(text, min_size=min_size, max_size=3)


def size(documents):
    return sum(len(document.encode()) for document in documents)


def stream(documents):
    return b"".join(document.encode() + b"\0" for document in documents)


@given(words(), sizes(1, 4), st.text("abc", max_size=5))
def test_ngrams_sum_to_one(ngrams, train, order, before):
    assert ngrams.NGram(train).order == 6
    model = ngrams.NGram(train, order=order)
    probabilities = [model.probability(before.encode(), byte) for byte in range(256)]
    assert min(probabilities) > 0
    assert abs(sum(probabilities) - 1) < 1e-9


@example(train=["ab" * 35_000 + "c"], before=b"", byte=ord("c"))
@example(train=["".join(map(chr, range(1, 128)))], before=b"", byte=200)
@given(documents(), st.binary(max_size=3), st.integers(0, 255))
def test_single_bytes_are_frequencies(ngrams, train, before, byte):
    text = stream(train)
    kinds = len(set(text))
    expected = (text.count(byte) + kinds / 256) / (len(text) + kinds)
    model = ngrams.NGram(train, order=1)
    assert abs(model.probability(before, byte) - expected) < 1e-12


@example(train=["abcdefghijklm" * 3, "abcdefghijklm"], documents=["xabcdefghijklm"], order=12)
@example(train=["ab" * 400 + "b"], documents=["abb"], order=None)
@given(words(min_size=0), words(), st.none() | sizes(1, 9))
def test_ngrams_are_witten_bell(ngrams, train, documents, order):
    seen, text = stream(train), stream(documents)

    def probability(before, byte, order):
        if order == 0:
            return 1 / 256
        context = before[len(before) - order + 1 :]
        lower = probability(before, byte, order - 1)
        if len(before) < order - 1:
            return lower
        places = range(len(seen) - len(context))
        followers = [seen[at + len(context)] for at in places if seen[at:].startswith(context)]
        kinds = len(set(followers))
        if not kinds:
            return lower
        return (followers.count(byte) + kinds * lower) / (len(followers) + kinds)

    other = ngrams.NGram([*documents, "b"], order=2)  # which it has nothing to do with
    model = ngrams.NGram(train) if order is None else ngrams.NGram(train, order=order)
    order = 6 if order is None else order
    bits = -sum(math.log2(probability(text[:at], byte, order)) for at, byte in enumerate(text))
    with keeps(train, documents):
        for _ in range(2):  # to ask is not to learn
            assert abs(model.bits_per_byte(documents) - bits / size(documents)) < 1e-9
    assert other.bits_per_byte(documents) == ngrams.NGram([*documents, "b"], order=2).bits_per_byte(
        documents
    )


@given(st.integers(max_value=0), st.lists(st.just(""), max_size=3))
def test_rejects_what_cannot_be_counted(ngrams, order, empty):
    with rejects("order", order):
        ngrams.NGram(["a"], order=order)
    with rejects("documents"):
        ngrams.NGram(["a"]).bits_per_byte(empty)
