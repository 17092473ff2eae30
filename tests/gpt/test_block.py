from functools import partial

import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from gptspec.gpt.config import GPTConfig
from gptspec.positions.rotary import rotate
from layers import assert_rounded_by_steps, block_by_formula, in_halves, large
from strategies import (
    HALVES,
    assert_close,
    assert_same_on_views,
    gradients,
    keeps,
    owned,
    sequences,
    sizes,
    tensors,
)

OTHER = {"vocab_size": 1, "context_length": 1, "n_layers": 1}  # a block knows nothing of these
FLOAT16, BFLOAT16 = (torch.float16, 0), (torch.bfloat16, 0)  # and a seed


@st.composite
def shapes(draw, d_head=None, **fixed):
    """Sizes and kinds of a block."""
    n_kv_heads = draw(sizes(1, 2))
    n_heads = n_kv_heads * draw(sizes(1, 2))
    shape = {
        "d_model": n_heads * (draw(sizes(1, 3)) if d_head is None else d_head),
        "n_heads": n_heads,
        "d_ff": draw(st.none() | sizes()),
        "bias": draw(st.booleans()),
        "n_kv_heads": draw(st.sampled_from([n_kv_heads, None])),
        "window": draw(st.none() | sizes(1, 4)),
        "norm": draw(st.sampled_from(["layer", "rms"])),
        "feed_forward": draw(st.sampled_from(["gelu", "swiglu"])),
        "norm_eps": draw(st.sampled_from([1e-5, 0.1])),
    }
    return GPTConfig(**OTHER, **shape | fixed)


def built(block, config):
    """A block whose norms scale, and whose biases are not 0."""
    made = block.Block(config)
    source = torch.Generator(torch.get_default_device()).manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.normal_(generator=source)
    return made


def rotation(config):
    """Rotation by hand, where the heads are of even width."""
    return partial(rotate, theta=10.0) if config.d_model // config.n_heads % 2 == 0 else None


@given(sizes(1, 4), sizes(1, 3), sizes(), st.booleans(), st.sampled_from([None, 0.1]), st.data())
def test_equals_torch(block, n_heads, d_head, d_ff, bias, eps, data):
    """The kinds that came first, which are also the defaults."""
    d_model = n_heads * d_head
    unusual = {} if eps is None else {"norm_eps": eps}
    shape = {"d_model": d_model, "n_heads": n_heads, "d_ff": d_ff, "bias": bias}
    ours = block.Block(GPTConfig(**OTHER, **shape, **unusual))
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
    x = data.draw(tensors(sizes(), sizes(), d_model), "x").requires_grad_()
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
    y, expected = ours(x), theirs(x, mask, is_causal=True)
    assert_close(y, expected)
    learned = (
        [norm.weight for norm in (ours.attention_norm, ours.feed_forward_norm)],
        [norm.weight for norm in (theirs.norm1, theirs.norm2)],
    )
    assert_close(gradients(y, x, *learned[0]), gradients(expected, x, *learned[1]))


@given(shapes(d_head=2, norm="rms", feed_forward="swiglu", window=None), st.data())
def test_equals_llama(block, config, data):
    """In float32, since transformers' norm and softmax compute in it whatever they are given."""
    ours = block.Block(config).float()
    config = LlamaConfig(
        hidden_size=config.d_model, intermediate_size=config.feed_forward_width,
        num_attention_heads=config.n_heads, num_key_value_heads=config.n_kv_heads,
        attention_bias=config.bias, mlp_bias=config.bias,
        rms_norm_eps=config.norm_eps, attn_implementation="eager",
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
    x = data.draw(tensors(sizes(), sizes(), config.hidden_size), "x").float()
    time = x.shape[1]
    angles = LlamaRotaryEmbedding(config)(x, torch.arange(time)[None])
    future = torch.full((time, time), -torch.inf).triu(1).float()
    assert_close(ours(x, rotate=rotate), theirs(x, future, position_embeddings=angles))


@given(shapes(), st.data())
@example(GPTConfig(**OTHER, d_model=96, n_heads=12, n_kv_heads=4, window=30), 100)
@example(GPTConfig(**OTHER, d_model=2, n_heads=1, window=300), 1100)
def test_two_branches_add(block, config, data):
    """From the weights alone, and the configuration; in evaluation mode too."""
    layer = built(block, config)
    if isinstance(data, int):
        source = torch.Generator(torch.get_default_device()).manual_seed(0)
        x = torch.randn(data, config.d_model, generator=source)
        positions = {"rotate": partial(rotate, theta=10.0)}
    else:
        layer.train(data.draw(st.booleans(), "training"))
        x = data.draw(sequences(d_model=config.d_model), "x")
        bias = data.draw(tensors(config.n_heads, x.shape[-2], x.shape[-2]), "score bias")
        positions = {"rotate": rotation(config), "score_bias": bias.requires_grad_()}
        names = data.draw(st.sets(st.sampled_from(list(positions))), "positions")
        positions = {name: positions[name] for name in names}
    x.requires_grad_()
    turn, bias = positions.get("rotate"), positions.get("score_bias")
    with keeps(x, layer):
        y = owned(lambda: layer(x, **positions))
    expected = block_by_formula(layer, x, config, turn, bias)
    assert_close(y, expected)
    parts = [layer.attention_norm, layer.attention, layer.feed_forward_norm, layer.feed_forward]
    parts = [part for part in parts if isinstance(part, nn.Module)]
    about = [x, *parts] if bias is None else [x, bias, *parts]
    assert_close(gradients(y, *about), gradients(expected, *about))
    assert_same_on_views(layer, x.detach())


@given(shapes(), sizes(), st.sampled_from(HALVES), st.integers(0, 2**32 - 1))
@example(GPTConfig(**OTHER, d_model=96, n_heads=12, n_kv_heads=4, norm="rms"), 30, *FLOAT16)
@example(GPTConfig(**OTHER, d_model=4, n_heads=2), 1100, *BFLOAT16)
def test_rounds_as_its_type(block, config, time, dtype, seed):
    """Positions and scores too: rotated where the heads are of even width."""
    half, exact = in_halves(built(block, config), dtype)
    x = large(time, config.d_model, seed=seed).to(dtype)
    positions = {} if rotation(config) is None else {"rotate": rotation(config)}
    y = half(x, **positions)
    assert y.dtype == dtype
    exactly = partial(block_by_formula, exact, x.double(), config, rotation(config))
    assert_rounded_by_steps(y, exactly)


@given(shapes(), st.data())
def test_cached_is_full(block, config, data):
    layer = built(block, config)
    x = data.draw(sequences(d_model=config.d_model), "x")
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    bias = data.draw(tensors(config.n_heads, x.shape[-2], x.shape[-2]), "bias")
    turn = rotation(config)
    memory = layer.attention.new_cache()
    parts = []
    for start, end in [(0, cut), (cut, x.shape[-2])]:
        added = bias[:, start:end, start - len(memory) : end]
        part = x[..., start:end, :]
        parts.append(layer(part, rotate=turn, score_bias=added, cache=memory))
    assert_close(torch.cat(parts, dim=-2), layer(x, rotate=turn, score_bias=bias))


@given(shapes(dropout=0.5), st.data())
def test_zeroed_outputs_change_nothing(block, config, data):
    layer = block.Block(config)
    x = data.draw(sequences(d_model=config.d_model), "x")
    for projection in [layer.attention.output, layer.feed_forward.down]:
        for parameter in projection.parameters():
            nn.init.zeros_(parameter)
    assert_close(layer(x), x, rtol=0, atol=0)


@given(shapes(norm="layer"), st.data())
def test_shift_passes_through(block, config, data):
    layer = block.Block(config)
    x = data.draw(sequences(d_model=config.d_model), "x")
    shift = data.draw(tensors(*x.shape[:-1], 1), "shift")
    assert_close(layer(x + shift), layer(x) + shift)


@given(shapes(norm="layer", norm_eps=0.1), sizes(1, 8), st.data())
def test_gradient_is_conserved(block, config, depth, data):
    x = data.draw(sequences(d_model=config.d_model), "x").requires_grad_()
    y = nn.Sequential(*(block.Block(config) for _ in range(depth)))(x)
    push = data.draw(tensors(*x.shape), "push")
    (gradient,) = torch.autograd.grad(y, x, push)
    assert_close(gradient.sum(-1), push.sum(-1))


@given(shapes(), st.data())
def test_no_future(block, config, data):
    layer = built(block, config)
    x = data.draw(sequences(d_model=config.d_model), "x")
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    future = data.draw(tensors(*x[..., cut:, :].shape), "future")
    changed = torch.cat([x[..., :cut, :], future], dim=-2)
    assert_close(layer(changed)[..., :cut, :], layer(x)[..., :cut, :])


@given(shapes(), st.data())
def test_texts_apart(block, config, data):
    layer = built(block, config)
    x = data.draw(tensors(sizes(), sizes(), config.d_model), "x")
    text = data.draw(st.integers(0, len(x) - 1), "text")
    y = layer(x)
    assert y.shape == x.shape
    assert_close(y[text], layer(x[text]))


@given(shapes())
def test_parameter_count(block, config):
    layer, d_model = block.Block(config), config.d_model
    wide = 8 * d_model // 3 if config.feed_forward == "swiglu" else 4 * d_model
    d_ff = config.d_ff or wide
    d_kv = d_model * (config.n_kv_heads or config.n_heads) // config.n_heads
    n_up = 2 if config.feed_forward == "swiglu" else 1
    count = 2 * d_model * (d_model + d_kv) + (1 + n_up) * d_model * d_ff + 2 * d_model
    count += config.bias * (3 * d_model + 2 * d_kv + n_up * d_ff)
    count += config.bias * 2 * d_model * (config.norm == "layer")
    assert sum(parameter.numel() for parameter in layer.parameters()) == count


@given(shapes(dropout=0.5), st.data())
def test_dropout_is_off_in_eval(block, config, data):
    layer = block.Block(config).eval()
    x = data.draw(sequences(d_model=config.d_model), "x")
    with keeps(layer):
        first = layer(x)
    assert_close(first, layer(x), rtol=0, atol=0)


@given(
    st.sampled_from(["weights", "attention", "feed_forward"]),
    st.sampled_from([0.1, 0.5]),
    sizes(),
    st.sampled_from(["gelu", "swiglu"]),
)
def test_drops_weights_and_branches(block, place, dropout, d_model, kind):
    """2,000 draws: the share kept is within 6 standard errors of what is asked for."""
    shape = {"d_model": d_model, "n_heads": 1, "d_ff": 2, "dropout": dropout}
    layer = block.Block(GPTConfig(**OTHER, **shape, feed_forward=kind))
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
