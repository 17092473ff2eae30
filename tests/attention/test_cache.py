import math
from contextlib import nullcontext

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from gptspec.attention import sliding_window
from strategies import (
    HALVES,
    assert_close,
    assert_same,
    assert_same_on_views,
    gradients,
    in_turns,
    keeps,
    rejects,
    sizes,
    tensors,
)

MODES = {"gradients": nullcontext, "none": torch.no_grad, "inference": torch.inference_mode}


@st.composite
def rows(draw, least=0, d_head=2):
    """Keys and values of a text, in chunks of any lengths."""
    shape = *draw(st.lists(sizes(1, 2), max_size=1)), draw(sizes(1, 2))
    lengths = draw(st.lists(sizes(least, 4), min_size=1, max_size=6))
    return [(draw(tensors(*shape, n, d_head)), draw(tensors(*shape, n, d_head))) for n in lengths]


def windows():
    return st.sampled_from([1, 2, 3, 4, None])


@st.composite
def chunked(draw):
    """Queries, keys and values of a text, and where to cut it."""
    *axes, time = draw(st.lists(sizes(1, 2), max_size=2)), draw(sizes(1, 7))
    shape = *axes[0], time, draw(sizes(1, 3))
    text = [draw(tensors(*shape)) for _ in range(3)]
    return text, sorted(draw(st.sets(st.integers(1, time)), "cuts") | {time})


def long():
    """A prompt of 1,000 tokens in 12 heads, and a hundred that are written one by one."""
    source = torch.Generator(torch.get_default_device()).manual_seed(0)
    text = [torch.randn(12, 1100, 2, generator=source) for _ in range(3)]
    return text, range(1000, 1101)


def parts(text, cuts):
    """A text, cut: queries, keys and values of each chunk."""
    for start, end in zip([0, *cuts], cuts, strict=False):
        yield [x[..., start:end, :] for x in text]


@given(chunked(), windows(), st.sampled_from(list(MODES)))
@example(long(), None, "none")
@example(long(), 300, "none")
def test_cached_is_full(cache, text, window, mode):
    text, cuts = text
    memory = cache.Cache(window)
    with MODES[mode]():
        read = [cache.cached_attention(*part, memory) for part in parts(text, cuts)]
    whole = sliding_window.sliding_window_attention(*text, window=window)
    assert_close(torch.cat(read, dim=-2), whole)
    assert memory.time == text[0].shape[-2]


@given(chunked(), windows())
def test_gradient_of_the_chunk(cache, text, window):
    """As if what was kept had always been given."""
    text, cuts = text
    memory = cache.Cache(window)
    start = 0
    for part in parts(text, cuts):
        queries, *new = chunk = [x.clone().requires_grad_() for x in part]
        ours = cache.cached_attention(*chunk, memory)
        past = (x[..., :start, :] for x in text[1:])
        read = [torch.cat(pair, dim=-2) for pair in zip(past, new, strict=True)]
        theirs = sliding_window.sliding_window_attention(queries, *read, window=window)
        assert_close(gradients(ours, *chunk), gradients(theirs, *chunk))
        start += queries.shape[-2]


@given(chunked(), windows())
def test_keeps_no_graph(cache, text, window):
    text, cuts = text
    memory = cache.Cache(window)
    chunks = [[x.clone().requires_grad_() for x in part] for part in parts(text, cuts)]
    outputs = [cache.cached_attention(*chunk, memory) for chunk in chunks]
    for earlier in chunks[:-1]:
        assert not any(gradient.any() for gradient in gradients(outputs[-1], *earlier))


@given(st.none() | sizes(), rows(), st.lists(st.sampled_from(list(MODES)), min_size=6, max_size=6))
def test_append_is_concatenation(cache, window, chunks, modes):
    memory = cache.Cache(window)
    seen = [part[..., :0, :] for part in chunks[0]]
    for chunk, mode in zip(chunks, modes, strict=False):
        kept = len(memory)
        seen = [torch.cat(pair, dim=-2) for pair in zip(seen, chunk, strict=True)]
        try:
            with keeps(*chunk), MODES[mode]():
                returned = memory.append(*chunk)
        except RuntimeError as error:
            raise AssertionError(f"refused in mode {mode}: {error}") from error
        for ours, theirs in zip(returned, seen, strict=True):
            assert ours.shape[-2] == kept + chunk[0].shape[-2]
            assert_same(ours.clone(), theirs[..., theirs.shape[-2] - ours.shape[-2] :, :])
        assert memory.time == seen[0].shape[-2]


@given(rows(), st.sampled_from([*HALVES, torch.float32, torch.float64]))
def test_type_of_the_input(cache, chunks, dtype):
    memory = cache.Cache()
    for chunk in chunks:
        keys, values = memory.append(*(x.to(dtype) for x in chunk))
        assert keys.dtype == values.dtype == dtype


@given(rows())
def test_owns_what_it_keeps(cache, chunks):
    """What was handed in, and with gradients what was handed out, may be changed."""
    memory, plain = cache.Cache(), cache.Cache()
    for chunk in chunks:
        expected = [x.clone() for x in plain.append(*chunk)]
        given = [x.clone() for x in chunk]
        returned = memory.append(*given)
        assert_same([*returned], expected)
        for x in (*given, *returned):
            x.fill_(77)


@given(rows())
def test_lies_in_memory_as_it_likes(cache, chunks):
    for keys, values in chunks:
        assert_same_on_views(lambda x: cache.Cache().append(x, values), keys)
        assert_same_on_views(lambda x: cache.Cache().append(keys, x), values)


@given(rows(least=1), rows(least=1), st.none() | sizes())
def test_caches_apart(cache, first, second, window):
    def read(chunks):
        memory = cache.Cache(window)
        for chunk in chunks:
            with torch.no_grad():
                returned = [x.clone() for x in memory.append(*chunk)]
            yield returned

    assert_same(in_turns(read(first), read(second)), [list(read(first)), list(read(second))])


@given(st.none() | sizes(1, 4), sizes(0, 4), rows(), st.data())
@example(20, 6, [(torch.ones(12, 300, 2).cumsum(-2), torch.ones(12, 300, 2).cumsum(-2))], None)
def test_truncated_is_never_read(cache, window, spare, chunks, data):
    """After each chunk some of the last tokens are taken back, and the text goes on otherwise."""
    memory = cache.Cache(window, spare=spare)
    one = [x.new_full((*x.shape[:-2], 1, x.shape[-1]), 5.0) for x in chunks[0]]
    seen = [part[..., :0, :] for part in chunks[0]]
    for mode, chunk in zip(["gradients", "none"] * 3, chunks, strict=False):
        for new in (chunk, one):
            seen = [torch.cat(pair, dim=-2) for pair in zip(seen, new, strict=True)]
            with MODES[mode]():
                returned = memory.append(*new)
            reads = memory.time if window is None else window - 1 + new[0].shape[-2]
            for ours, theirs in zip(returned, seen, strict=True):
                assert ours.shape[-2] >= min(reads, memory.time)
                assert_same(ours.clone(), theirs[..., theirs.shape[-2] - ours.shape[-2] :, :])
        most = memory.time if window is None else min(spare, memory.time)
        back = data.draw(st.integers(0, most), "taken back") if data else most
        try:
            memory.truncate(memory.time - back)
        except ValueError as error:
            raise AssertionError(f"cannot take back {back} tokens: {error}") from error
        seen = [x[..., : x.shape[-2] - back, :] for x in seen]
        assert memory.time == seen[0].shape[-2]
        assert len(memory) <= memory.time
    for time in (-1, memory.time + 1):
        with rejects("time", time):
            memory.truncate(time)
    if window is not None and memory.time > len(memory) and window > 1:
        with rejects("time", memory.time - len(memory)):  # its past is forgotten
            memory.truncate(memory.time - len(memory))


@given(st.lists(sizes(1, 6), min_size=1, max_size=3), st.none() | sizes(2, 5), st.data())
@example([900, 30, 4], None, None)
@example([900, 30, 4], 20, None)
def test_joined_texts_end_together(cache, lengths, window, data):
    end, memories, seen = max(lengths) + 3, [], []
    for place, time in enumerate(lengths):
        memory = cache.Cache(window)
        memory.time = end - time
        text = [torch.arange(2.0 * time).view(1, 1, time, 2) + 100 * place + n for n in (1, 2)]
        memory.append(*text)
        memories.append(memory)
        seen.append(text)
    expected = [
        [x[:, :, -len(memory) :] for x in text] for text, memory in zip(seen, memories, strict=True)
    ]
    joined = memories[0].join(memories)
    order = list(range(len(lengths)))[::-1]
    if data is not None:
        order = data.draw(st.permutations(order), "order")[: max(1, len(order) - 1)]
    most = max(len(memory) for memory in memories)
    longest = most if data is None else data.draw(st.integers(0, most), "longest")
    for texts, kept in ((range(len(lengths)), most), (order, longest)):
        if texts is order:
            joined.select(texts, longest)
        assert (joined.time, len(joined), joined.window) == (end + (texts is order), kept, window)
        new = [torch.full((len(texts), 1, 1, 2), n) for n in (-1.0, -2.0)]
        with torch.no_grad():
            returned = [x.clone() for x in joined.append(*new)]
        for row, text in enumerate(texts):
            for ours, theirs, last in zip(returned, expected[text], new, strict=True):
                whole = torch.cat([torch.zeros(1, 1, most, 2), theirs], dim=-2)[0, :, -most:]
                more = [last[row]] * (1 + (texts is order))
                wanted = torch.cat([whole, *more], dim=-2)
                assert_same(ours[row], wanted[:, wanted.shape[-2] - kept - 1 :])
        if window is not None:
            break  # it forgets as it goes on, and has no last rows to select


@given(st.none() | sizes(2), rows(least=1))
def test_equals_hugging_face(cache, window, chunks):
    """Not for a window of 1, in which theirs keeps everything."""
    memory = cache.Cache(window)
    theirs = DynamicLayer() if window is None else DynamicSlidingWindowLayer(window)
    for keys, values in chunks:
        batch = [x.view(-1, *x.shape[-3:]) for x in (keys, values)]
        for our, their in zip(memory.append(keys, values), theirs.update(*batch), strict=True):
            assert_close(our, their[0] if our.ndim < 4 else their, rtol=0, atol=0)


@given(sizes(1, 5), rows())
@example(window=300, chunks=[(torch.zeros(12, 700, 2), torch.zeros(12, 700, 2))])
def test_forgets_what_nobody_reads(cache, window, chunks):
    memory = cache.Cache(window)
    for chunk in chunks:
        keys, _ = memory.append(*chunk)
        assert len(memory) == min(memory.time, window - 1)
    one = [x.new_zeros(*x.shape[:-2], 1, x.shape[-1]) for x in chunks[-1]]
    with torch.no_grad():
        for _ in range(20):
            keys, _ = memory.append(*one)
    longest = max(chunk[0].shape[-2] for chunk in chunks)
    room = 2 * 2 * (window + longest) * one[0].nbytes  # keys and values, with room for as many
    assert keys.untyped_storage().nbytes() <= room


@given(sizes(1, 100), st.sampled_from(["none", "inference"]))
@example(1100, "none")
def test_seldom_copies(cache, time, mode):
    memory, row = cache.Cache(), torch.zeros(1, 1, 1)
    with MODES[mode]():
        stores = [memory.append(row, row)[0].untyped_storage() for _ in range(time)]
    moves = len({store.data_ptr() for store in stores})
    assert moves <= 1 + math.log2(time)


@given(rows(), st.data())
def test_rejects_other_texts(cache, chunks, data):
    memory = cache.Cache()
    keys, values = chunks[0]
    memory.append(keys, values)
    shape = list(keys.shape)
    axis = data.draw(st.sampled_from([n for n in range(len(shape)) if n != len(shape) - 2]), "axis")
    shape[axis] += data.draw(sizes(), "more")
    *held, _, width = keys.shape
    with rejects("keys", tuple(shape), tuple(held), f"width {width}"):
        memory.append(torch.zeros(shape), torch.zeros(shape))
    assert memory.time == keys.shape[-2]


@given(st.integers(max_value=0))
def test_rejects_empty_window(cache, window):
    with rejects("window", window):
        cache.Cache(window)
    with rejects("spare", window - 1):
        cache.Cache(2, spare=window - 1)
