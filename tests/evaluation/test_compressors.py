import gzip
import lzma
import random

from hypothesis import Phase, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from strategies import rejects, texts


def documents():
    """A few texts, not all of them empty."""
    return st.lists(texts(12), min_size=1, max_size=3).filter(any)


def size(documents):
    return sum(len(document.encode()) for document in documents)


def stream(documents):
    return b"".join(document.encode() + b"\0" for document in documents)


LONG = " ".join(random.Random(1).choices(["tea", "milk", "rice", "naïve", "salt"], k=20_000))


# xz -9e clears hundreds of megabytes before it begins: few examples, and no shrinking.
@limits(max_examples=5, phases=[Phase.explicit, Phase.generate])
@example(documents=["", LONG[:40_000], "", "naïve\r\n"], before=[LONG])
@given(documents(), documents())
def test_compressors_are_direct_calls(compressors, documents, before):
    def xz(text):
        return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))

    text, primed = stream(documents), stream(before)
    assert compressors.join(documents) == text
    n_bytes = size(documents)
    assert compressors.gzip_bits_per_byte(documents) == 8 * len(gzip.compress(text, 9)) / n_bytes
    assert compressors.xz_bits_per_byte(documents) == 8 * xz(text) / n_bytes
    extra = xz(primed + text) - xz(primed)
    assert compressors.xz_bits_per_byte(documents, before) == 8 * extra / n_bytes


@given(st.lists(st.just(""), max_size=3), documents())
def test_rejects_no_text(compressors, empty, before):
    with rejects("documents"):
        compressors.gzip_bits_per_byte(empty)
    with rejects("documents"):
        compressors.xz_bits_per_byte(empty, before)
