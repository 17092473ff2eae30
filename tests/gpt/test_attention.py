import math
from functools import partial

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import MultiheadAttention

from gptspec.attention.grouped_query import GroupedQueryAttention, repeat_heads
from gptspec.attention.multihead import MultiHeadAttention, merge_heads, split_heads
from gptspec.attention.sliding_window import sliding_window_attention, window_mask
from gptspec.positions.alibi import alibi
from gptspec.positions.relative import RelativeBias
from gptspec.positions.rotary import rotate
from strategies import (
    HALVES,
    HUGE,
    assert_close,
    assert_rounded,
    assert_same_on_views,
    elsewhere,
    gradients,
    half_and_exact,
    keeps,
    owned,
    rejects,
    sizes,
    tensors,
    unchecked,
    unwritten,
)


@st.composite
def layers(draw, **fixed):
    """Draw the arguments of a layer whose heads are of even width, as rotation wants it."""
    n_kv_heads = draw(sizes(most=3), "n_kv_heads")
    n_heads = n_kv_heads * draw(sizes(most=3), "heads of a group")
    shape = {"d_model": n_heads * 2 * draw(sizes(most=2), "d_head"), "n_heads": n_heads}
    if draw(st.booleans(), "grouped"):
        shape["n_kv_heads"] = n_kv_heads
    if not draw(st.booleans(), "bias"):
        shape["bias"] = False
    if (window := draw(st.sampled_from([None, 1, 2, 3, 4]), "window")) is not None:
        shape["window"] = window
    return shape | fixed


WIDE = {"d_model": 96, "n_heads": 12, "n_kv_heads": 4}
NARROW = {"d_model": 4, "n_heads": 2, "n_kv_heads": 1}  # of a long text, to be quick


def noise(*shape, seed=0):
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    return torch.randn(shape, generator=source)


def texts(layer, time=None, batch=2):
    return tensors(sizes(1, 7) if time is None else time, layer["d_model"], batch=batch)


def built(attention, layer, **more):
    """A layer whose biases are not 0."""
    made = attention.Attention(**layer, **more)
    for seed, parameter in enumerate(made.parameters()):
        if parameter.ndim == 1:
            parameter.data = noise(len(parameter), seed=seed)
    return made


def same_weights(theirs, ours):
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    assert shapes == {name: value.shape for name, value in ours.state_dict().items()}
    theirs.load_state_dict(ours.state_dict())


def assert_same_ways(ours, theirs, *about):
    """Two outputs, and their gradients."""
    assert_close(ours, theirs)
    assert_close(gradients(ours, *about), gradients(theirs, *about))


@st.composite
def chunks(draw, x):
    """Cut a text, anywhere and as often as there are tokens."""
    cuts = sorted(draw(st.sets(st.integers(1, x.shape[-2])), "cuts") | {x.shape[-2]})
    return [x[..., a:b, :] for a, b in zip([0, *cuts], cuts, strict=False)]


def none(*_):
    return None


@st.composite
def positions(draw, layer):
    """Draw how a layer learns of positions: a rotation, and a bias for its scores."""
    turn = draw(st.sampled_from([None, partial(rotate, theta=10.0)]), "rotate")
    kind = draw(st.sampled_from(["none", "alibi", "relative"]), "score_bias")
    if kind == "none":
        return turn, none
    if kind == "alibi":
        return turn, partial(alibi, layer["n_heads"])
    bias = RelativeBias(layer["n_heads"], n_buckets=4, max_distance=3)
    bias.weight.data = draw(tensors(*bias.weight.shape), "bias")
    return turn, bias


def read(layer, parts, turn=None, bias=none):
    """Read a text in chunks."""
    memory = layer.new_cache()
    outputs = []
    for part in parts:
        time = part.shape[-2]
        added = bias(time, len(memory) + time)
        outputs.append(layer(part, rotate=turn, score_bias=added, cache=memory))
    return torch.cat(outputs, dim=-2)


def by_hand(layer, x, turn=None, bias=None):
    """Attention as its formula is, from the weights of a layer."""
    n_kv_heads = layer.key.weight.shape[0] * layer.n_heads // layer.query.weight.shape[0]
    queries = split_heads(layer.query(x), layer.n_heads)
    keys, values = (split_heads(part(x), n_kv_heads) for part in (layer.key, layer.value))
    if turn is not None:
        queries, keys = turn(queries, start=0), turn(keys, start=0)
    keys, values = (repeat_heads(part, layer.n_heads // n_kv_heads) for part in (keys, values))
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    scores = scores if bias is None else scores + bias
    mask = window_mask(x.shape[-2], x.shape[-2], layer.window)
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    return layer.output(merge_heads(weights @ values))


@given(layers(window=None), st.data())
@example(WIDE, None)
def test_is_grouped_query(attention, layer, data):
    ours = built(attention, layer)
    n_heads, bias = layer["n_heads"], layer.get("bias", True)
    grouped = {"n_heads": n_heads, "n_kv_heads": layer.get("n_kv_heads", n_heads)}
    theirs = GroupedQueryAttention(layer["d_model"], layer["d_model"], **grouped, bias=bias)
    same_weights(theirs, ours)
    x = noise(1100, 96) if data is None else data.draw(texts(layer), "x")
    x.requires_grad_()
    with keeps(x, ours):
        y = owned(lambda: ours(x))
    expected = theirs(x)
    assert_close(y, expected)
    assert_close(gradients(y, x, ours), gradients(expected, x, theirs))
    if data is not None:
        assert_same_on_views(ours, x.detach())


@given(layers(window=None, n_kv_heads=None), st.data())
def test_is_multi_head(attention, layer, data):
    ours, bias = built(attention, layer), layer.get("bias", True)
    shape = layer["d_model"], layer["d_model"]
    theirs = MultiHeadAttention(*shape, n_heads=layer["n_heads"], bias=bias)
    same_weights(theirs, ours)
    x = data.draw(texts(layer), "x").requires_grad_()
    y, expected = ours(x), theirs(x)
    assert_close(y, expected)
    assert_close(gradients(y, x, ours), gradients(expected, x, theirs))


@given(sizes(most=3), sizes(most=3), st.data())
def test_equals_torch(attention, n_heads, d_head, data):
    """A layer of which nothing is said but the heads."""
    d_model = n_heads * d_head
    ours = built(attention, {"d_model": d_model, "n_heads": n_heads})
    theirs = MultiheadAttention(d_model, n_heads, batch_first=True)
    parts = [ours.query, ours.key, ours.value]
    assert all(part.bias is not None for part in [*parts, ours.output])
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    x = data.draw(tensors(sizes(), sizes(1, 7), d_model), "x").requires_grad_()
    future = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool).triu(1)
    expected, _ = theirs(x, x, x, attn_mask=future, need_weights=False)
    assert_same_ways(ours(x), expected, x)


@given(layers(), sizes(1, 8), st.data())
@example(NARROW, 300, None)
def test_is_sliding_window(attention, layer, window, data):
    ours = built(attention, layer | {"window": window})
    x = noise(1100, 4) if data is None else data.draw(texts(layer), "x")
    x.requires_grad_()
    n_heads = layer["n_heads"]
    n_kv_heads = layer.get("n_kv_heads", n_heads)
    queries = split_heads(ours.query(x), n_heads)
    keys, values = (
        repeat_heads(split_heads(part(x), n_kv_heads), n_heads // n_kv_heads)
        for part in (ours.key, ours.value)
    )
    mixes = sliding_window_attention(queries, keys, values, window=window)
    assert_same_ways(ours(x), ours.output(merge_heads(mixes)), x, ours)


@given(layers(), st.data())
@example({**NARROW, "window": 700}, None)
def test_positions_as_by_hand(attention, layer, data):
    ours = built(attention, layer)
    if data is None:
        x, turn, bias = noise(1100, 4), rotate, partial(alibi, 2)
    else:
        x, (turn, bias) = data.draw(texts(layer), "x"), data.draw(positions(layer))
    x.requires_grad_()
    added = bias(x.shape[-2], x.shape[-2])
    learned = [bias] if isinstance(bias, RelativeBias) else []
    given = [] if added is None else [added]
    with keeps(x, ours, *given, *learned):
        y = owned(lambda: ours(x, rotate=turn, score_bias=added))
    again = bias(x.shape[-2], x.shape[-2])
    assert_same_ways(y, by_hand(ours, x, turn, again), x, ours, *learned)
    if added is not None and data is not None:
        assert_same_on_views(lambda b: ours(x, rotate=turn, score_bias=b), added.detach())


@given(layers(), st.data())
@example(WIDE, None)
@example({**WIDE, "window": 300}, None)
def test_cached_is_full(attention, layer, data):
    ours = built(attention, layer)
    if data is None:
        x, turn, bias = noise(1, 1100, 96), rotate, none
        parts = x.split([1000, 1, 1, 90, *[1] * 8], dim=-2)
    else:
        x, (turn, bias) = data.draw(texts(layer), "x"), data.draw(positions(layer))
        parts = data.draw(chunks(x), "chunks")
    whole = ours(x, rotate=turn, score_bias=bias(x.shape[-2], x.shape[-2]))
    assert_close(read(ours, parts, turn, bias), whole)
    with torch.no_grad():
        assert_close(read(ours, parts, turn, bias), whole)


@given(layers(), st.data())
def test_chunk_gets_its_gradient(attention, layer, data):
    """A first chunk is a whole text; the vectors of a later one move it as they move the whole."""
    ours, memory = built(attention, layer), None
    x, (turn, bias) = data.draw(texts(layer), "x"), data.draw(positions(layer))
    cut = data.draw(st.integers(1, x.shape[-2]), "cut")
    memory = ours.new_cache()
    first = x[..., :cut, :].clone().requires_grad_()
    alone = ours(first, rotate=turn, score_bias=bias(cut, cut))
    chunk = ours(first, rotate=turn, score_bias=bias(cut, cut), cache=memory)
    assert_same_ways(chunk, alone, first, ours)
    last = x[..., cut:, :].clone().requires_grad_()
    time = last.shape[-2]
    added = bias(time, len(memory) + time)
    chunk = ours(last, rotate=turn, score_bias=added, cache=memory)
    together = torch.cat([first.detach(), last], dim=-2)
    whole = ours(together, rotate=turn, score_bias=bias(x.shape[-2], x.shape[-2]))
    assert_same_ways(chunk, whole[..., cut:, :], last)


@given(layers(), st.data())
def test_keys_turn_once(attention, layer, data):
    ours = built(attention, layer)
    x = data.draw(texts(layer), "x")
    parts = data.draw(chunks(x), "chunks")
    turned = []

    def turn(heads, *, start):
        turned.append((heads.shape[-3], range(start, start + heads.shape[-2])))
        return heads

    read(ours, parts, turn)
    expected, start = [], 0
    kv_heads = layer.get("n_kv_heads", layer["n_heads"])
    for part in parts:
        places = range(start, start := start + part.shape[-2])
        expected += [(layer["n_heads"], places), (kv_heads, places)]
    assert turned == expected
    turned.clear()
    ours(x, rotate=turn)
    assert [places for _, places in turned] == [range(x.shape[-2])] * 2


@given(layers(), st.data())
def test_texts_apart(attention, layer, data):
    ours = built(attention, layer)
    x = data.draw(tensors(sizes(1, 3), sizes(1, 7), layer["d_model"]), "x")
    text = data.draw(st.integers(0, len(x) - 1), "text")
    parts = data.draw(chunks(x), "chunks")
    alone = read(ours, [part[text] for part in parts])
    assert_close(read(ours, parts)[text], alone)


@given(layers(), st.data())
def test_caches_apart(attention, layer, data):
    ours = built(attention, layer)
    first, second = data.draw(texts(layer, batch=0)), data.draw(texts(layer, batch=0))
    memories = ours.new_cache(), ours.new_cache()
    outputs = [], []
    for t in range(max(len(first), len(second))):  # in turns
        for text, memory, output in zip([first, second], memories, outputs, strict=True):
            if t < len(text):
                output.append(ours(text[t : t + 1], cache=memory))
    for text, output in zip([first, second], outputs, strict=True):
        assert_close(torch.cat(output), ours(text))


@given(layers(), st.data())
def test_cache_has_the_window(attention, layer, data):
    ours = built(attention, layer)
    memory = ours.new_cache()
    for part in data.draw(chunks(data.draw(texts(layer), "x")), "chunks"):
        ours(part, cache=memory)
        kept = memory.time if "window" not in layer else min(memory.time, layer["window"] - 1)
        assert len(memory) == kept


@st.composite
def heads(draw, time=None, batch=1):
    """Draw queries, keys and values, in heads, of one text; the keys may have fewer heads."""
    time = draw(sizes(1, 6)) if time is None else time
    n_kv_heads, n_repeats, d_head = draw(sizes(1, 2)), draw(sizes(1, 2)), draw(sizes(1, 3))
    axes = draw(st.lists(sizes(1, 2), max_size=batch))
    queries = draw(tensors(*axes, n_kv_heads * n_repeats, time, d_head), "queries")
    keys = draw(tensors(*axes, n_kv_heads, time, d_head), "keys")
    return queries, keys, draw(tensors(*axes, n_kv_heads, time, d_head), "values")


def windows():
    return st.none() | sizes(1, 7)


@given(heads(), windows(), st.booleans(), st.integers(0, 6))
@example(tuple(noise(1, 4, 2) for _ in range(3)), 2, False, 1)
@example(tuple(noise(2, 1100, 2) for _ in range(3)), 300, True, 7)
def test_last_queries_are_last_rows(attention, text, window, biased, last):
    queries, keys, values = text
    n_heads, time = queries.shape[-3:-1]
    first = max(0, time - last)
    bias = noise(n_heads, time, time) if biased else None
    whole = attention.attend(queries, keys, values, window=window, score_bias=bias)
    bias = bias[:, first:] if biased else None
    queries = queries[..., first:, :]
    part = attention.attend(queries, keys, values, window=window, score_bias=bias)
    assert_close(part, whole[..., first:, :])


@given(heads(), windows(), st.booleans(), st.integers(0, HUGE))
def test_always_finite(attention, text, window, biased, exponent):
    queries, keys, values = text
    n_heads, time = queries.shape[-3:-1]
    bias = torch.full((n_heads, time, time), -(10.0**exponent)) if biased else None
    queries = queries * 10.0**exponent
    ours = attention.attend(queries, keys, values, window=window, score_bias=bias)
    assert ours.isfinite().all()
    assert (ours.amax((-2, -1)) <= values.max() + 1e-9).all()


@given(heads(), windows(), st.integers(0, HUGE), st.data())
def test_no_future(attention, text, window, exponent, data):
    """Not even a score of any size shows through."""
    queries, keys, values = text
    n_heads, time = queries.shape[-3:-1]
    t = data.draw(st.integers(0, time - 1), "t")
    bias = data.draw(st.none() | tensors(n_heads, time, time), "bias")
    queries = queries * 10.0**exponent
    before = attention.attend(queries, keys, values, window=window, score_bias=bias)
    future = (torch.arange(time) > t)[:, None].to(keys)
    keys, values = keys + future * 10.0**exponent, values - future
    changed = attention.attend(queries, keys, values, window=window, score_bias=bias)
    assert_close(changed[..., : t + 1, :], before[..., : t + 1, :])


@given(layers(d_model=4, n_heads=2, n_kv_heads=1), sizes(1, 2), st.sampled_from([0.1, 0.5]))
def test_drops_in_training_only(attention, layer, time, dropout):
    """The first tokens of 2,000 texts have one weight, of 1; its share is within 6 standard errors.

    A text of one token and a longer one may go different ways.
    """
    ours = attention.Attention(**layer | {"bias": False}, dropout=dropout)
    x = torch.ones(2000, time, 4)
    ours.output.weight.data = torch.eye(4)  # shows each head's mix
    values = ours.value(x).repeat(1, 1, 2)
    y = ours(x)[:, :1]
    dropped = y == 0
    assert_close(y, torch.where(dropped, 0, values[:, :1] / (1 - dropout)))
    dropped = dropped.unflatten(-1, (2, -1)).all(-1)
    error = (dropout * (1 - dropout) / dropped.numel()) ** 0.5
    assert abs(dropped.double().mean() - dropout) < 6 * error
    with keeps():  # no number is drawn
        still = ours.eval()(x)
    assert_close(still, values)


@given(layers(), sizes(1, 12), st.sampled_from(HALVES), st.integers(0, 2**32 - 1))
@example(NARROW, 1100, torch.bfloat16, 0)
@example(WIDE, 30, torch.float16, 0)
def test_rounds_as_its_type(attention, layer, time, dtype, seed):
    """Queries, keys and scores are rounded: six units of a score at most, and a weight changes by
    twice its score's error. Weights, values, mixes and outputs are rounded once each."""
    x = noise(time, layer["d_model"], seed=seed)
    (half, x), (exact, wide) = half_and_exact(dtype, built(attention, layer), x)
    queries, keys, values = (
        split_heads(part(wide), n_heads).abs()
        for part, n_heads in [
            (exact.query, layer["n_heads"]),
            (exact.key, layer.get("n_kv_heads", layer["n_heads"])),
            (exact.value, layer.get("n_kv_heads", layer["n_heads"])),
        ]
    )
    keys = repeat_heads(keys, queries.shape[-3] // keys.shape[-3])
    scores = (queries @ keys.mT / math.sqrt(queries.shape[-1])).max().item()
    ours = half(x)
    assert ours.dtype == dtype
    largest = (exact.output.weight.abs().sum(1).max() * values.max()).item()
    if exact.output.bias is not None:
        largest += exact.output.bias.abs().max().item()
    assert_rounded(ours, exact(wide), roundings=6 + 12 * scores, largest=largest)


@given(layers(), st.data())
def test_device_of_the_input(attention, layer, data):
    ours = built(attention, layer)
    x = data.draw(texts(layer, batch=1), "x")
    time = x.shape[-2]
    bias = data.draw(st.none() | tensors(layer["n_heads"], time, time), "bias")
    expected = ours(x, score_bias=bias)
    with elsewhere():
        found = ours(x, score_bias=bias)
        cached = ours(x, score_bias=bias, cache=ours.new_cache())
    assert_close(found, expected)
    assert_close(cached, expected)


def compiles(attention, window, seed, **compiler):
    """Texts of several lengths go through one compiled function, without a break."""
    with unchecked():
        compiled = torch.compile(attention.attend, fullgraph=True, **compiler)
        for query_time, key_time in [(2, 7), (4, 4), (5, 5), (1, 6), (1, 7), (3, 9)]:
            queries = noise(1, 2, query_time, 2, seed=seed).requires_grad_()
            keys = noise(1, 2, key_time, 2, seed=seed + 1).requires_grad_()
            expected = attention.attend(queries, keys, keys, window=window)
            try:
                outputs = compiled(queries, keys, keys, window=window)
            except RuntimeError as error:
                if unwritten(error):
                    raise
                raise AssertionError(f"it is no single graph: {error}") from error
            assert_same_ways(outputs, expected, queries, keys)


@settings(max_examples=3)  # each compiles it several times
@given(windows(), st.integers(0, 2**31))
def test_compiles_for_any_length(attention, window, seed):
    compiles(attention, window, seed, backend="eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own code
@settings(max_examples=2)
@given(layers(), st.booleans(), st.integers(0, 2**31))
def test_compiled_to_machine_code(attention, layer, dynamic, seed):
    ours = built(attention, layer)
    with unchecked():
        compiled = torch.compile(ours, fullgraph=True, dynamic=dynamic)
        for time in [5, 3, 8]:
            x = noise(2, time, layer["d_model"], seed=seed).requires_grad_()
            bias = noise(layer["n_heads"], time, time, seed=seed)
            try:
                outputs = compiled(x, rotate=rotate, score_bias=bias)
            except RuntimeError as error:
                if unwritten(error):
                    raise
                raise AssertionError(f"it is no single graph: {error}") from error
            assert_same_ways(outputs, ours(x, rotate=rotate, score_bias=bias), x, ours)


@given(
    st.tuples(st.just("dropout"), st.floats(max_value=-0.001) | st.floats(min_value=1))
    | st.tuples(
        st.sampled_from(["d_model", "n_heads", "n_kv_heads", "window"]), st.integers(max_value=0)
    )
    | st.tuples(st.sampled_from(["n_heads", "n_kv_heads"]), st.integers(5))
)
def test_rejects_shape(attention, wrong):
    name, value = wrong
    with rejects(name, value):
        attention.Attention(**{"d_model": 4, "n_heads": 2, name: value})
    if name == "window":
        with rejects(name, value):
            attention.attend(*[torch.ones(1, 2, 2)] * 3, window=value)


@given(sizes(0, 5), sizes(1, 5), windows())
def test_rejects_more_queries_than_keys(attention, key_time, more, window):
    query_time = key_time + more
    queries, keys = torch.ones(1, query_time, 2), torch.ones(1, key_time, 2)
    with rejects("query_time", query_time):
        attention.attend(queries, keys, keys, window=window)
