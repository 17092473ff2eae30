import math
from functools import partial

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from gptspec.attention import grouped_query, multihead, sliding_window
from gptspec.positions.relative import RelativeBias
from gptspec.positions.rotary import rotate
from strategies import assert_close, rejects, sizes, tensors


@st.composite
def layers(draw, **fixed):
    """Draw the arguments of a layer whose heads are of even width, as rotation wants it."""
    n_kv_heads = draw(sizes(most=2), "n_kv_heads")
    n_heads = n_kv_heads * draw(sizes(most=2), "heads of a group")
    shape = {"d_in": draw(sizes(), "d_in"), "d_out": n_heads * 2 * draw(sizes(most=2), "d_head")}
    shape |= {"n_heads": n_heads, "n_kv_heads": n_kv_heads}
    shape |= {"bias": True} if draw(st.booleans(), "bias") else {}
    return shape | {"window": draw(st.sampled_from([1, 2, 3, 4, None]), "window")} | fixed


@st.composite
def positions(draw, layer):
    """Draw how a layer is told of positions: a rotation, and a bias for its scores."""
    turn = draw(st.sampled_from([None, partial(rotate, theta=10.0)]), "rotate")
    if not draw(st.booleans(), "biased"):
        return turn, lambda *_: None
    bias = RelativeBias(layer["n_heads"], n_buckets=4, max_distance=3)
    bias.weight.data = draw(tensors(*bias.weight.shape), "bias")
    return turn, bias


def texts(layer, batch=1):
    return tensors(sizes(1, 7), layer["d_in"], batch=batch)


@st.composite
def chunks(draw, x):
    """Cut a text, anywhere and as often as there are tokens."""
    cuts = sorted(draw(st.sets(st.integers(1, x.shape[-2])), "cuts") | {x.shape[-2]})
    return [x[..., a:b, :] for a, b in zip([0, *cuts], cuts, strict=False)]


def read(attend, parts, turn=None, bias=lambda *_: None):
    """Read a text in chunks."""
    memory = attend.new_cache()
    outputs = []
    for part in parts:
        time = part.shape[-2]
        added = bias(time, len(memory) + time)
        outputs.append(attend(part, rotate=turn, score_bias=added, cache=memory))
    return torch.cat(outputs, dim=-2)


@given(layers(), st.data())
def test_cached_is_full(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    x = data.draw(texts(layer), "x")
    turn, bias = data.draw(positions(layer))
    parts = data.draw(chunks(x), "chunks")
    whole = attend(x, rotate=turn, score_bias=bias(x.shape[-2], x.shape[-2]))
    assert_close(read(attend, parts, turn, bias), whole)


@given(layers(window=None), st.data())
def test_plain_is_grouped_query(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    del layer["window"]
    theirs = grouped_query.GroupedQueryAttention(**layer)
    theirs.load_state_dict(attend.state_dict())
    x = data.draw(texts(layer), "x")
    assert_close(attend(x), theirs(x))


@given(layers(), st.data())
def test_window_and_bias_take_part(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    x = data.draw(texts(layer), "x")
    bias = data.draw(tensors(layer["n_heads"], x.shape[-2], x.shape[-2]), "bias")
    mixes = sliding_window.attend(*attend.project(x), window=layer["window"], bias=bias)
    assert_close(attend(x, score_bias=bias), attend.output(multihead.merge_heads(mixes)))


@given(layers(), st.data())
def test_keys_turn_once(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    x = data.draw(texts(layer), "x")
    parts = data.draw(chunks(x), "chunks")
    turned = []

    def turn(heads, *, start):
        turned.append((heads.shape[-3], range(start, start + heads.shape[-2])))
        return heads

    read(attend, parts, turn)
    expected, start = [], 0
    for part in parts:
        places = range(start, start := start + part.shape[-2])
        expected += [(layer["n_heads"], places), (layer["n_kv_heads"], places)]
    assert turned == expected
    turned.clear()
    attend(x, rotate=turn)
    assert [places for _, places in turned] == [range(x.shape[-2])] * 2


@given(layers(), st.data())
def test_texts_apart(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    x = data.draw(tensors(sizes(1, 3), sizes(1, 7), layer["d_in"]), "x")
    text = data.draw(st.integers(0, len(x) - 1), "text")
    parts = data.draw(chunks(x), "chunks")
    alone = read(attend, [part[text] for part in parts])
    assert_close(read(attend, parts)[text], alone)


@given(layers(), st.data())
def test_caches_apart(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    first, second = data.draw(texts(layer, batch=0)), data.draw(texts(layer, batch=0))
    memories = attend.new_cache(), attend.new_cache()
    outputs = [], []
    for t in range(max(len(first), len(second))):  # in turns
        for text, memory, output in zip([first, second], memories, outputs, strict=True):
            if t < len(text):
                output.append(attend(text[t : t + 1], cache=memory))
    for text, output in zip([first, second], outputs, strict=True):
        assert_close(torch.cat(output), attend(text))


@st.composite
def rows(draw, d_head=2):
    """Keys and values of a text, in chunks of any lengths."""
    shape = *draw(st.lists(sizes(1, 2), max_size=1)), draw(sizes(1, 2))
    lengths = draw(st.lists(sizes(1, 4), min_size=1, max_size=6))
    return [(draw(tensors(*shape, n, d_head)), draw(tensors(*shape, n, d_head))) for n in lengths]


@given(st.none() | sizes(), rows())
def test_append_is_concatenation(cache, window, parts):
    memory = cache.Cache(window)
    seen = [part[..., :0, :] for part in parts[0]]
    for part in parts:
        kept = len(memory)
        seen = [torch.cat(pair, dim=-2) for pair in zip(seen, part, strict=True)]
        returned = memory.append(*part)
        for ours, theirs in zip(returned, seen, strict=True):
            assert ours.shape[-2] == kept + part[0].shape[-2]
            assert_close(ours, theirs[..., -ours.shape[-2] :, :], rtol=0, atol=0)
        assert memory.time == seen[0].shape[-2]


@given(st.none() | sizes(2), rows())
def test_equals_hugging_face(cache, window, parts):
    """Not for a window of 1, in which theirs keeps everything."""
    memory = cache.Cache(window)
    theirs = DynamicLayer() if window is None else DynamicSlidingWindowLayer(window)
    for keys, values in parts:
        batch = [x.view(-1, *x.shape[-3:]) for x in (keys, values)]
        for our, their in zip(memory.append(keys, values), theirs.update(*batch), strict=True):
            assert_close(our, their[0] if our.ndim < 4 else their, rtol=0, atol=0)


@given(sizes(1, 5), rows(), st.booleans())
def test_forgets_what_nobody_reads(cache, window, parts, of_a_layer):
    shape = {"d_in": 1, "d_out": 1, "n_heads": 1, "n_kv_heads": 1}
    layer = cache.CachedAttention(**shape, window=window)
    memory = layer.new_cache() if of_a_layer else cache.Cache(window)
    for part in parts:
        keys, _ = memory.append(*part)
        assert len(memory) == min(memory.time, window - 1)
    one = [row[..., -1:, :] for row in parts[-1]]
    for _ in range(20):
        keys, _ = memory.append(*one)
    longest = max(part[0].shape[-2] for part in parts)
    room = 2 * 2 * (window + longest) * one[0].nbytes  # keys and values, with room for as many
    assert keys.untyped_storage().nbytes() <= room


@given(sizes(1, 100))
def test_seldom_copies(cache, time):
    memory, row = cache.Cache(), torch.zeros(1, 1, 1)
    stores = [memory.append(row, row)[0].untyped_storage() for _ in range(time)]
    moves = len({store.data_ptr() for store in stores})
    assert moves <= 1 + math.log2(time)


@given(layers(), st.data())
def test_keeps_no_graph(cache, layer, data):
    attend = cache.CachedAttention(**layer)
    _, keys, values = attend.project(data.draw(texts(layer), "x"))
    memory = cache.Cache(layer["window"])
    for _ in range(2):
        assert not any(kept.requires_grad for kept in memory.append(keys, values))


@given(layers(d_out=4, n_heads=2, n_kv_heads=1), st.sampled_from([0.1, 0.5]))
def test_drops_in_training_only(cache, layer, dropout):
    """2,000 texts of one token, whose only weight is 1; the share is within 6 standard errors."""
    attend = cache.CachedAttention(**layer | {"bias": False}, dropout=dropout)
    x = torch.ones(2000, 1, layer["d_in"])
    attend.output.weight.data = torch.eye(4)  # shows each head's mix
    values = attend.value(x).repeat(1, 1, 2)
    dropped = (attend(x) == 0).unflatten(-1, (2, -1)).all(-1)
    error = (dropout * (1 - dropout) / dropped.numel()) ** 0.5
    assert abs(dropped.double().mean() - dropout) < 6 * error
    assert_close(attend.eval()(x), values)


@given(rows(), st.data())
def test_rejects_other_texts(cache, parts, data):
    memory = cache.Cache()
    keys, values = parts[0]
    memory.append(keys, values)
    shape = list(keys.shape)
    axis = data.draw(st.sampled_from([n for n in range(len(shape)) if n != len(shape) - 2]), "axis")
    shape[axis] += data.draw(sizes(), "more")
    *held, _, width = keys.shape
    with rejects("keys", tuple(shape), tuple(held), f"width {width}"):
        memory.append(torch.zeros(shape), torch.zeros(shape))


@given(st.integers(max_value=0))
def test_rejects_empty_window(cache, window):
    with rejects("window", window):
        cache.Cache(window)
    with rejects("window", window):
        cache.CachedAttention(2, 2, n_heads=1, n_kv_heads=1, window=window)
