from functools import partial

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from gptspec.positions.rotary import rotate
from strategies import assert_close, rejects, sequences, sizes, tensors


@st.composite
def shapes(draw, **fixed):
    """Sizes and kinds of a block: its width, and the arguments after it."""
    n_kv_heads = draw(sizes(1, 2))
    n_heads = n_kv_heads * draw(sizes(1, 2))
    shape = {
        "n_heads": n_heads,
        "d_ff": draw(sizes()),
        "n_kv_heads": draw(st.sampled_from([n_kv_heads, None])),
        "window": draw(st.none() | sizes(1, 4)),
        "norm": draw(st.sampled_from(["layer", "rms"])),
        "feed_forward": draw(st.sampled_from(["gelu", "swiglu"])),
        "norm_eps": draw(st.sampled_from([1e-5, 0.1])),
    }
    return n_heads * draw(sizes(1, 3)), shape | fixed


@given(sizes(1, 4), sizes(1, 3), sizes(), st.booleans(), st.sampled_from([None, 0.1]), st.data())
def test_equals_torch(block, n_heads, d_head, d_ff, bias, eps, data):
    """The kinds that came first, which are also the defaults."""
    d_model = n_heads * d_head
    unusual = {} if eps is None else {"norm_eps": eps}
    ours = block.Block(d_model, n_heads=n_heads, d_ff=d_ff, bias=bias, **unusual)
    theirs = nn.TransformerEncoderLayer(
        d_model, n_heads, d_ff, dropout=0, bias=bias, layer_norm_eps=eps or 1e-5,
        activation=partial(F.gelu, approximate="tanh"), batch_first=True, norm_first=True,
    )  # fmt: skip
    attention, inner = ours.attention, theirs.self_attn
    joined = [attention.query, attention.key, attention.value]
    pairs = [
        (theirs.norm1, ours.attention_norm), (inner.out_proj, attention.output),
        (theirs.norm2, ours.feed_forward_norm), (theirs.linear1, ours.feed_forward.up),
        (theirs.linear2, ours.feed_forward.down),
    ]  # fmt: skip
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
        for name in ["weight", "bias"][: 1 + bias]:
            stacked = torch.cat([getattr(projection, name) for projection in joined])
            getattr(inner, f"in_proj_{name}").copy_(stacked)
            for target, source in pairs:
                getattr(target, name).copy_(getattr(source, name))
    x = data.draw(tensors(sizes(), sizes(), d_model), "x")
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
    assert_close(ours(x), theirs(x, mask, is_causal=True))


@given(shapes(norm="rms", feed_forward="swiglu", window=None), st.booleans(), st.data())
def test_equals_llama(block, shape, bias, data):
    """In float32, since transformers' norm and softmax compute in it whatever they are given."""
    d_model, of = shape
    if d_model // of["n_heads"] % 2:
        d_model *= 2  # heads are turned in pairs
    ours = block.Block(d_model, **of, bias=bias).float()
    config = LlamaConfig(
        hidden_size=d_model, intermediate_size=of["d_ff"], num_attention_heads=of["n_heads"],
        num_key_value_heads=of["n_kv_heads"], attention_bias=bias, mlp_bias=bias,
        rms_norm_eps=of["norm_eps"], attn_implementation="eager",
    )  # fmt: skip
    theirs = LlamaDecoderLayer(config, layer_idx=0).float()
    attention, inner = ours.attention, ours.feed_forward
    for target, source in [
        (theirs.input_layernorm, ours.attention_norm),
        (theirs.self_attn.q_proj, attention.query), (theirs.self_attn.k_proj, attention.key),
        (theirs.self_attn.v_proj, attention.value), (theirs.self_attn.o_proj, attention.output),
        (theirs.post_attention_layernorm, ours.feed_forward_norm),
        (theirs.mlp.gate_proj, inner.gate), (theirs.mlp.up_proj, inner.up),
        (theirs.mlp.down_proj, inner.down),
    ]:  # fmt: skip
        torch.nn.init.normal_(source.weight, std=0.5)
        target.load_state_dict(source.state_dict())
    x = data.draw(tensors(sizes(), sizes(), d_model), "x").float()
    time = x.shape[1]
    angles = LlamaRotaryEmbedding(config)(x, torch.arange(time)[None])
    future = torch.full((time, time), -torch.inf).triu(1).float()
    assert_close(ours(x, rotate=rotate), theirs(x, future, position_embeddings=angles))


@given(shapes(), st.data())
def test_attention_knows_positions(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of)
    x = data.draw(sequences(d_model=d_model), "x")
    added = data.draw(tensors(sizes_of["n_heads"], x.shape[-2], x.shape[-2]), "score bias")
    turn = partial(rotate, theta=10.0) if d_model // sizes_of["n_heads"] % 2 == 0 else None
    nn.init.zeros_(layer.feed_forward.down.weight)
    nn.init.zeros_(layer.feed_forward.down.bias)
    y = layer(x, rotate=turn, score_bias=added)
    found = layer.attention(layer.attention_norm(x), rotate=turn, score_bias=added)
    assert_close(y, x + found)


@given(shapes(), st.data())
def test_cached_is_full(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of)
    x = data.draw(sequences(d_model=d_model), "x")
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    bias = data.draw(tensors(sizes_of["n_heads"], x.shape[-2], x.shape[-2]), "bias")
    turn = partial(rotate, theta=10.0) if d_model // sizes_of["n_heads"] % 2 == 0 else None
    memory = layer.attention.new_cache()
    parts = []
    for start, end in [(0, cut), (cut, x.shape[-2])]:
        added = bias[:, start:end, start - len(memory) : end]
        part = x[..., start:end, :]
        parts.append(layer(part, rotate=turn, score_bias=added, cache=memory))
    assert_close(torch.cat(parts, dim=-2), layer(x, rotate=turn, score_bias=bias))


@given(shapes(), st.data())
def test_zeroed_outputs_change_nothing(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of, dropout=0.5)
    x = data.draw(sequences(d_model=d_model), "x")
    for projection in [layer.attention.output, layer.feed_forward.down]:
        nn.init.zeros_(projection.weight)
        nn.init.zeros_(projection.bias)
    assert_close(layer(x), x, rtol=0, atol=0)


@given(shapes(norm="layer"), st.data())
def test_shift_passes_through(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of)
    x = data.draw(sequences(d_model=d_model), "x")
    shift = data.draw(tensors(*x.shape[:-1], 1), "shift")
    assert_close(layer(x + shift), layer(x) + shift)


@given(shapes(norm="layer"), sizes(1, 8), st.data())
def test_gradient_is_conserved(block, shape, depth, data):
    d_model, sizes_of = shape
    x = data.draw(sequences(d_model=d_model), "x").requires_grad_()
    y = nn.Sequential(*(block.Block(d_model, **sizes_of) for _ in range(depth)))(x)
    push = data.draw(tensors(*x.shape), "push")
    (gradient,) = torch.autograd.grad(y, x, push)
    assert_close(gradient.sum(-1), push.sum(-1))


@given(shapes(), st.data())
def test_no_future(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of)
    x = data.draw(sequences(d_model=d_model), "x")
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    future = data.draw(tensors(*x[..., cut:, :].shape), "future")
    changed = torch.cat([x[..., :cut, :], future], dim=-2)
    assert_close(layer(changed)[..., :cut, :], layer(x)[..., :cut, :])


@given(shapes(), st.data())
def test_texts_apart(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of)
    x = data.draw(tensors(sizes(), sizes(), d_model), "x")
    text = data.draw(st.integers(0, len(x) - 1), "text")
    y = layer(x)
    assert y.shape == x.shape
    assert_close(y[text], layer(x[text]))


@given(shapes(), st.booleans())
def test_parameter_count(block, shape, bias):
    d_model, sizes_of = shape
    layer, d_ff = block.Block(d_model, **sizes_of, bias=bias), sizes_of["d_ff"]
    d_kv = d_model * (sizes_of["n_kv_heads"] or sizes_of["n_heads"]) // sizes_of["n_heads"]
    n_up = 2 if sizes_of["feed_forward"] == "swiglu" else 1
    count = 2 * d_model * (d_model + d_kv) + (1 + n_up) * d_model * d_ff + 2 * d_model
    count += bias * (3 * d_model + 2 * d_kv + n_up * d_ff)
    count += bias * 2 * d_model * (sizes_of["norm"] == "layer")
    assert sum(parameter.numel() for parameter in layer.parameters()) == count


@given(shapes(), st.data())
def test_dropout_is_off_in_eval(block, shape, data):
    d_model, sizes_of = shape
    layer = block.Block(d_model, **sizes_of, dropout=0.5).eval()
    x = data.draw(sequences(d_model=d_model), "x")
    assert_close(layer(x), layer(x), rtol=0, atol=0)


@given(
    st.sampled_from(["weights", "attention", "feed_forward"]),
    st.sampled_from([0.1, 0.5]),
    sizes(),
    st.sampled_from(["gelu", "swiglu"]),
)
def test_drops_weights_and_branches(block, place, dropout, d_model, kind):
    """2,000 draws: the share kept is within 6 standard errors of what is asked for."""
    layer = block.Block(d_model, n_heads=1, d_ff=2, dropout=dropout, feed_forward=kind)
    last = {"attention": layer.attention.output, "feed_forward": layer.feed_forward.down}
    for projection in [layer.attention.value, *last.values()]:
        nn.init.zeros_(projection.weight)
        nn.init.zeros_(projection.bias)
    if place == "weights":  # a value of 1, dropped as a weight and again as what is added
        nn.init.ones_(layer.attention.value.bias)
        nn.init.eye_(layer.attention.output.weight)
    else:
        nn.init.ones_(last[place].bias)
    keep = (1 - dropout) ** (2 if place == "weights" else 1)
    added = layer(torch.zeros(2000, 1, d_model))
    kept = (added != 0).to(added.dtype)
    assert_close(added, kept / keep)
    assert abs(kept.mean().item() - keep) < 6 * (keep * (1 - keep) / 2000) ** 0.5


@given(
    st.tuples(st.just("dropout"), st.floats(max_value=-0.001) | st.floats(min_value=1))
    | st.tuples(
        st.sampled_from(["d_model", "n_heads", "n_kv_heads", "d_ff"]), st.integers(max_value=0)
    )
    | st.tuples(st.sampled_from(["n_heads", "n_kv_heads"]), st.integers(5))
    | st.tuples(st.just("window"), st.integers(max_value=0))
    | st.tuples(st.sampled_from(["norm", "feed_forward"]), st.sampled_from(["", "batch", "relu"]))
)
def test_rejects_shape(block, wrong):
    name, value = wrong
    with rejects(name, value):
        block.Block(**{"d_model": 4, "n_heads": 2, "d_ff": 4, name: value})
