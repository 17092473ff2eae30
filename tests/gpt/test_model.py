import json
import math
import random
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from disk import memory_for
from gptspec.positions.alibi import alibi
from gptspec.positions.rotary import rotate
from gptspec.positions.sinusoidal import sinusoids
from layers import assert_rounded_by_steps, block_by_formula, in_halves, normalized
from strategies import (
    HALVES,
    assert_close,
    assert_same_on_views,
    elsewhere,
    gradients,
    keeps,
    owned,
    rejects,
    sizes,
    token_ids,
    unchecked,
    unwritten,
)

SMALL = {"vocab_size": 5, "context_length": 3, "d_model": 4, "n_layers": 1, "n_heads": 2}
GPT2 = {"positions": "learned", "norm": "layer", "feed_forward": "gelu"}
LLAMA = {"positions": "rotary", "norm": "rms", "feed_forward": "swiglu"}
POSITIONS = ["learned", "sinusoidal", "relative", "rotary", "alibi", "none"]
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=20)  # building models, and writing files, takes its time


@st.composite
def shapes(draw, **fixed):
    """The arguments of a tiny configuration; a seed decides them, so that all kinds come up."""
    choose = random.Random(draw(seeds)).choice
    n_kv_heads, repeats = choose([1, 2]), choose([1, 2])
    positions = choose(POSITIONS)
    turns = fixed.get("positions", positions) in ("sinusoidal", "rotary")
    shape = {
        "vocab_size": choose(range(1, 17)),
        "context_length": choose(range(1, 7)),
        "d_model": n_kv_heads * repeats * choose([1, 2]) * (2 if turns else 1),
        "n_layers": choose([1, 2]),
        "n_heads": n_kv_heads * repeats,
        "d_ff": choose([None, 1, 2, 3, 8]),
        "bias": choose([True, False]),
        "tied": choose([True, False]),
        "positions": positions,
        "norm": choose(["layer", "rms"]),
        "feed_forward": choose(["gelu", "swiglu"]),
        "n_kv_heads": choose([n_kv_heads, None]),
        "window": choose([None, None, 1, 2, 3]),
        "theta": choose([10.0, 10_000.0]),
        "norm_eps": choose([1e-5, 0.1]),
    }
    return shape | fixed


def like_gpt2(**fixed):
    return shapes(**GPT2, n_kv_heads=None, window=None, norm_eps=1e-5, **fixed)


def build(model, shape):
    """A GPT with weights large enough for every path through it to show."""
    gpt = model.GPT(model.GPTConfig(**shape))
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.normal_()
    return gpt


def by_hand(gpt, ids):
    """The vectors that the first block should read."""
    x, (time, d_model) = gpt.tokens.weight[ids], (ids.shape[-1], gpt.config.d_model)
    if gpt.config.positions == "learned":
        return x + gpt.positions.weight[:time]
    if gpt.config.positions == "sinusoidal":
        return x * d_model**0.5 + sinusoids(time, d_model)
    return x


@st.composite
def texts(draw, shape, batch=1):
    """Ids that such a model can read, from a seed: quick to draw and to shrink."""
    source = random.Random(draw(seeds))
    axes = [source.randint(1, 3) for _ in range(batch)]
    axes += [source.randint(1, shape["context_length"])]
    count = torch.Size(axes).numel()
    return torch.tensor([source.randrange(shape["vocab_size"]) for _ in range(count)]).view(axes)


def gpt2(gpt):
    """The same model in the transformers library, whose Conv1D holds its weights transposed."""
    config = gpt.config
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size, n_positions=config.context_length,
            n_embd=config.d_model, n_layer=config.n_layers, n_head=config.n_heads,
            n_inner=config.d_ff, tie_word_embeddings=config.tied,
            bos_token_id=None, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    pairs = [(theirs.transformer.ln_f, gpt.norm)]
    projections = []
    for block, ours in zip(theirs.transformer.h, gpt.blocks, strict=True):
        pairs += [(block.ln_1, ours.attention_norm), (block.ln_2, ours.feed_forward_norm)]
        attention = ours.attention
        projections += [
            (block.attn.c_attn, [attention.query, attention.key, attention.value]),
            (block.attn.c_proj, [attention.output]),
            (block.mlp.c_fc, [ours.feed_forward.up]),
            (block.mlp.c_proj, [ours.feed_forward.down]),
        ]
    with torch.no_grad():
        theirs.transformer.wte.weight.copy_(gpt.tokens.weight)
        theirs.transformer.wpe.weight.copy_(gpt.positions.weight)
        theirs.lm_head.weight.copy_(gpt.head.weight)
        for target, source in pairs:
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)
        for target, sources in projections:
            target.weight.copy_(torch.cat([source.weight for source in sources]).T)
            target.bias.copy_(torch.cat([source.bias for source in sources]))
    return theirs


@few
@given(like_gpt2(bias=True), st.data())
def test_equals_gpt2(model, shape, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape), "ids")
    assert_close(gpt(ids), gpt2(gpt)(ids).logits)


def llama(gpt):
    """The same model as the transformers library's Llama."""
    config = gpt.config
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size, max_position_embeddings=config.context_length,
            hidden_size=config.d_model, intermediate_size=config.feed_forward_width,
            num_hidden_layers=config.n_layers, num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads, tie_word_embeddings=config.tied,
            attention_bias=config.bias, mlp_bias=config.bias, rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.theta},
            pad_token_id=None, bos_token_id=None, eos_token_id=None, attn_implementation="eager",
        )
    )  # fmt: skip
    pairs = [(theirs.model.embed_tokens, gpt.tokens), (theirs.lm_head, gpt.head)]
    pairs += [(theirs.model.norm, gpt.norm)]
    for layer, block in zip(theirs.model.layers, gpt.blocks, strict=True):
        attention, feed_forward = block.attention, block.feed_forward
        pairs += [
            (layer.input_layernorm, block.attention_norm),
            (layer.post_attention_layernorm, block.feed_forward_norm),
            (layer.self_attn.q_proj, attention.query), (layer.self_attn.k_proj, attention.key),
            (layer.self_attn.v_proj, attention.value), (layer.self_attn.o_proj, attention.output),
            (layer.mlp.gate_proj, feed_forward.gate), (layer.mlp.up_proj, feed_forward.up),
            (layer.mlp.down_proj, feed_forward.down),
        ]  # fmt: skip
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    return theirs.float().eval()


@few
@given(shapes(**LLAMA, window=None), st.data())
def test_equals_llama(model, shape, data):
    """In float32, since transformers' norm and softmax compute in it whatever they are given."""
    gpt = build(model, shape).float()
    with torch.no_grad():
        for parameter in gpt.parameters():  # logits near 1, where float32 has its finest steps
            parameter.mul_(0.5)
    ids = data.draw(texts(shape), "ids")
    assert_close(gpt(ids), llama(gpt)(ids).logits)


LONG = {"vocab_size": 9, "context_length": 1100, "d_model": 4, "n_layers": 1, "n_heads": 2}
DEEP = {"vocab_size": 9, "context_length": 30, "d_model": 96, "n_layers": 5, "n_heads": 12}


@given(shapes(), st.data())
@example(LONG | {"positions": "learned"}, None)
@example(DEEP | {"positions": "rotary", "n_kv_heads": 4}, None)
def test_is_its_parts(model, shape, data):
    gpt = build(model, shape)
    ids = (
        torch.arange(shape["context_length"]) % 9
        if data is None
        else data.draw(texts(shape), "ids")
    )
    x = by_hand(gpt, ids)
    theta, heads, time = shape.get("theta", 10_000.0), shape["n_heads"], ids.shape[-1]
    positions = {}
    match shape["positions"]:
        case "rotary":
            positions["rotate"] = partial(rotate, theta=theta)
        case "alibi":
            positions["score_bias"] = alibi(heads, time, time)
        case "relative":
            positions["score_bias"] = gpt.positions(time, time)
    for block in gpt.blocks:
        x = block(x, **positions)
    expected = nn.functional.linear(gpt.norm(x), gpt.head.weight)
    logits = gpt(ids)
    assert_close(logits, expected)
    assert_close(gradients(logits, gpt), gradients(expected, gpt))


def by_formula(gpt, ids):
    """The logits from the weights alone; what positions add is a step too."""
    config, time = gpt.config, ids.shape[-1]
    added = {
        "sinusoidal": lambda: sinusoids(time, config.d_model),
        "alibi": lambda: alibi(config.n_heads, time, time),
        "relative": lambda: gpt.positions(time, time),
    }
    added = added.get(config.positions, lambda: torch.zeros(()))().requires_grad_() * 1
    x = gpt.tokens.weight[ids]
    if config.positions == "learned":
        x = x + gpt.positions.weight[:time]
    if config.positions == "sinusoidal":
        x = x * config.d_model**0.5 + added
    turn = partial(rotate, theta=config.theta) if config.positions == "rotary" else None
    bias = added if config.positions in ("alibi", "relative") else None
    for block in gpt.blocks:
        x = block_by_formula(block, x, config, turn, bias)
    return normalized(gpt.norm, x, config) @ gpt.head.weight.mT


@given(shapes(), st.sampled_from(HALVES), st.data())
@example(LONG | {"positions": "learned"}, torch.bfloat16, None)
@example(LONG | {"positions": "alibi"}, torch.float16, None)
@example(DEEP | {"positions": "rotary", "n_kv_heads": 4}, torch.bfloat16, None)
def test_rounds_as_its_type(model, shape, dtype, data):
    gpt = build(model, shape)
    with torch.no_grad():
        for parameter in gpt.parameters():  # scores near 1: larger ones multiply their errors
            parameter.mul_(shape["d_model"] ** -0.5)
    length = shape["context_length"]
    ids = torch.arange(length) % 9 if data is None else data.draw(texts(shape), "ids")
    half, exact = in_halves(gpt, dtype)
    logits = half(ids)
    assert logits.dtype == dtype
    assert_rounded_by_steps(logits, partial(by_formula, exact, ids))


@settings(max_examples=3)  # each trains a model
@given(shapes(vocab_size=16, context_length=8, d_model=16, n_heads=2, d_ff=None))
def test_memorizes_a_batch(model, shape):
    """Ids that do not occur twice in a text, so that a model without positions can do it too."""
    gpt = model.GPT(model.GPTConfig(**shape | {"n_kv_heads": 1, "n_layers": 1, "window": None}))
    ids = torch.stack([torch.randperm(16)[:9] for _ in range(4)])
    optimizer = torch.optim.Adam(gpt.parameters(), lr=0.02)
    for _ in range(100):
        logits = gpt(ids[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert math.exp(-loss.item()) > 0.9


@few
@given(shapes(), st.integers(0, 2), st.data())
def test_logits_shape(model, shape, batch, data):
    ids, gpt = data.draw(texts(shape, batch), "ids"), build(model, shape)
    with keeps(ids, gpt):
        logits = owned(lambda: gpt(ids))
    assert logits.shape == (*ids.shape, shape["vocab_size"])
    assert_same_on_views(gpt, ids)


@few
@given(shapes(), st.data())
def test_no_future(model, shape, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape, batch=0), "ids")
    cut = data.draw(st.integers(0, len(ids)), "cut")
    changed = torch.cat([ids[:cut], (ids[cut:] + 1) % shape["vocab_size"]])
    assert_close(gpt(changed)[:cut], gpt(ids)[:cut])
    assert_close(gpt(ids[:cut]), gpt(ids)[:cut])


@few
@given(shapes(), st.data())
def test_texts_apart(model, shape, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape), "ids")
    text = data.draw(st.integers(0, len(ids) - 1), "text")
    assert_close(gpt(ids)[text], gpt(ids[text : text + 1])[0])


@st.composite
def splits(draw, ids):
    """Cut texts into parts, anywhere."""
    time, source = ids.shape[-1], random.Random(draw(seeds))
    cuts = [0, *(t for t in range(1, time) if source.random() < 0.5), time]
    return [ids[..., a:b] for a, b in pairwise(cuts)]


@given(shapes(), st.data())
def test_cached_is_full(model, shape, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape), "ids")
    cache = gpt.new_cache()
    parts = [gpt(part, cache) for part in data.draw(splits(ids))]
    assert_close(torch.cat(parts, dim=-2), gpt(ids))
    if shape["window"] is not None:  # what no later token can read is not kept
        assert max(len(layer) for layer in cache) < shape["window"]


@few
@given(shapes(), sizes(1, 9), st.data())
def test_last_are_the_last(model, shape, last, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape), "ids")
    whole = gpt(ids)
    assert_close(gpt(ids, last=last), whole[..., -last:, :])
    cache = gpt.new_cache()
    parts = data.draw(splits(ids))
    for part in parts:
        logits = gpt.read(part, cache, last=last)
    assert_close(logits, whole[..., -min(last, parts[-1].shape[-1]) :, :])
    with rejects("last", 1 - last):
        gpt(ids, last=1 - last)


@given(shapes(), st.integers(0, 40), st.data())
@example(DEEP | {"positions": "alibi", "n_kv_heads": 4, "window": 7}, 100, None)
@example(DEEP | {"positions": "rotary", "n_kv_heads": 4}, 0, None)
def test_padded_is_alone(model, shape, begin, data):
    gpt, longest = build(model, shape), shape["context_length"]
    source = random.Random(begin if data is None else data.draw(seeds))
    lengths = [source.randint(1, longest) for _ in range(source.randint(1, 4))]
    alone = [
        torch.tensor([source.randrange(shape["vocab_size"]) for _ in range(n)]) for n in lengths
    ]
    time = max(lengths)
    ids = torch.stack([
        torch.cat([torch.randint(shape["vocab_size"], (time - n,)), text])
        for n, text in zip(lengths, alone, strict=True)
    ])  # fmt: skip
    padding = [begin + time - n for n in lengths]
    cuts = [0, *(t for t in range(1, time) if source.random() < 0.3), time]
    cache = gpt.new_cache()
    for layer in cache:
        layer.time = begin
    with keeps(ids, gpt):
        read = [gpt.read(ids[:, a:b], cache, padding=padding) for a, b in pairwise(cuts)]
    logits = torch.cat(read, dim=-2)
    for row, text, n in zip(logits, alone, lengths, strict=True):
        assert_close(row[time - n :], gpt.read(text))
    assert [layer.time for layer in cache] == [begin + time] * shape["n_layers"]
    with rejects("context_length", longest):
        more = torch.zeros(len(ids), longest + 1 - time + 1, dtype=torch.long)
        gpt.read(more, cache, padding=padding)


@given(shapes(), st.data())
def test_computes_where_its_weights_are(model, shape, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape), "ids")
    expected = gpt(ids)
    with elsewhere():
        found = gpt(ids)
    assert_close(found, expected)
    assert gpt.float()(ids).dtype == torch.float32


@given(shapes(), st.data())
def test_scores_know_positions(model, shape, data):
    gpt, told = build(model, shape), []
    for block in gpt.blocks:
        block.register_forward_pre_hook(
            lambda _, args, named: told.append(named.get("score_bias")), with_kwargs=True
        )
    ids = data.draw(texts(shape), "ids")
    gpt(ids)
    time = ids.shape[-1]
    expected = None
    if shape["positions"] == "alibi":
        expected = alibi(shape["n_heads"], time, time)
    elif shape["positions"] == "relative":
        expected = gpt.positions(time, time)
    for bias in told:
        assert (bias is None) == (expected is None)
        if expected is not None:
            assert_close(bias, expected, rtol=0, atol=0)


@settings(max_examples=4)  # each compiles a model
@given(shapes(n_layers=1), st.data())
def test_compiled_is_eager(model, shape, data):
    gpt = build(model, shape)
    ids = data.draw(texts(shape), "ids")
    expected = gpt(ids)
    try:
        with unchecked():
            logits = torch.compile(gpt, fullgraph=True, backend="eager")(ids)
    except RuntimeError as error:
        if unwritten(error):
            raise
        raise AssertionError(f"the model is no single graph: {error}") from error
    assert_close(logits, expected)
    ones, weights = torch.ones_like(expected), gpt.tokens.weight
    assert_close(*(torch.autograd.grad(out, weights, ones)[0] for out in (logits, expected)))


@few
@given(shapes(positions="rotary"), st.data())
def test_cache_counts_the_context(model, shape, data):
    gpt, limit = build(model, shape), shape["context_length"]
    cache, time = gpt.new_cache(), 0
    for part in data.draw(splits(torch.zeros(limit, dtype=torch.long))):
        try:
            gpt(part, cache)
        except ValueError as error:
            raise AssertionError(f"refused {time + len(part)} tokens of {limit}") from error
        time += len(part)
        assert [layer.time for layer in cache] == [time] * shape["n_layers"]
    more = data.draw(sizes(), "more")
    with rejects("context_length", limit, limit + more):
        gpt(torch.zeros(more, dtype=torch.long), cache)
    with rejects("cache", shape["n_layers"] + 1):
        gpt(torch.zeros(1, dtype=torch.long), gpt.new_cache() + gpt.new_cache()[:1])


@given(shapes(), st.data())
def test_stream_begins_with_tokens(model, shape, data):
    gpt, seen = build(model, shape), []
    gpt.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ids = data.draw(texts(shape), "ids")
    gpt(ids)
    assert_close(seen[0], by_hand(gpt, ids))


@few
@given(shapes(), st.data())
def test_starts_undecided(model, shape, data):
    gpt = model.GPT(model.GPTConfig(**shape))
    ids = data.draw(token_ids(shape["vocab_size"], 8, shape["context_length"]), "ids")
    targets = torch.randint(shape["vocab_size"], ids.shape)
    loss = nn.functional.cross_entropy(gpt(ids).flatten(0, 1), targets.flatten())
    assert abs(loss.item() - math.log(shape["vocab_size"])) < 0.2


@few
@given(shapes(vocab_size=16, d_model=16, n_heads=2, n_kv_heads=1, d_ff=None), sizes(1, 3))
def test_starts_as_gpt2(model, shape, n_layers):
    """The measured deviation is within 6 standard errors of the stated one."""
    gpt = model.GPT(model.GPTConfig(**shape | {"n_layers": n_layers}))
    for name, parameter in gpt.named_parameters():
        if parameter.ndim == 1:
            start = torch.zeros_like if name.endswith("bias") else torch.ones_like
            assert_close(parameter, start(parameter))
        else:
            stated = 0.02
            if name == "positions.weight":
                stated = 0.01 if shape["positions"] == "learned" else 0.0
            if name.endswith(("attention.output.weight", "feed_forward.down.weight")):
                stated /= math.sqrt(2 * n_layers)
            measured = parameter.square().mean().sqrt().item()
            assert abs(measured - stated) <= 6 * stated / math.sqrt(2 * parameter.numel())


@few
@given(shapes())
def test_tied_is_one_tensor(model, shape):
    gpt = model.GPT(model.GPTConfig(**shape))
    with TemporaryDirectory() as folder:
        gpt.save(Path(folder))
        loaded = model.GPT.load(Path(folder))
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            tables = [name for name in file.keys() if name in ("tokens.weight", "head.weight")]  # noqa: SIM118
    assert len(tables) == (1 if shape["tied"] else 2)
    for each in [gpt, loaded]:
        assert (each.head.weight is each.tokens.weight) == shape["tied"]


@settings(max_examples=100)  # so that each kind of positions comes up
@given(shapes())
def test_parameter_count(model, shape):
    config = model.GPTConfig(**shape)
    parameters = list(model.GPT(config).parameters())
    with keeps():
        count = model.parameter_count(config)
    assert sum(parameter.numel() for parameter in parameters) == count
    d_model, gated = shape["d_model"], shape["feed_forward"] == "swiglu"
    d_kv = d_model * (shape["n_kv_heads"] or shape["n_heads"]) // shape["n_heads"]
    d_ff = shape["d_ff"] or (8 * d_model // 3 if gated else 4 * d_model)
    norm = d_model * (1 + (shape["bias"] and shape["norm"] == "layer"))
    block = 2 * d_model**2 + 2 * d_model * d_kv + (2 + gated) * d_model * d_ff + 2 * norm
    block += (3 * d_model + 2 * d_kv + (1 + gated) * d_ff) * shape["bias"]
    places = {"learned": shape["context_length"] * d_model, "relative": 32 * shape["n_heads"]}
    tables = shape["vocab_size"] * (2 - shape["tied"]) * d_model + places.get(shape["positions"], 0)
    assert count == tables + shape["n_layers"] * block + norm
    assert isinstance(count, int)


@few
@given(shapes(n_heads=1, n_kv_heads=1, window=None), st.sampled_from([4, 6]))
def test_every_parameter_learns(model, shape, d_model):
    gpt = build(model, shape | {"d_model": d_model, "vocab_size": 8, "context_length": 4})
    ids = torch.arange(8).view(2, 4)
    gpt(ids).square().sum().backward()
    for name, parameter in gpt.named_parameters():
        assert parameter.grad is not None, f"no gradient for {name}"
        # The same number added to all scores of a query changes no weight; turned, it differs.
        if not name.endswith("attention.key.bias"):
            assert parameter.grad.any(), f"gradient zero for {name}"


@few
@given(shapes(dropout=0.5), seeds, st.data())
def test_reads_in_eval_mode(model, shape, seed, data):
    gpt, choose = build(model, shape), random.Random(seed).choice
    for part in gpt.modules():
        part.training = choose([True, False])
    ids = data.draw(texts(shape), "ids")
    with keeps(gpt, ids):
        logits = gpt.read(ids)
        with rejects("context_length"):
            gpt.read(ids.repeat(1, shape["context_length"] + 1))
    assert not logits.requires_grad
    assert_close(logits, gpt.eval()(ids))


@given(shapes(), st.data())
def test_dropout_is_off_in_eval(model, shape, data):
    gpt = build(model, shape | {"dropout": 0.5}).eval()
    ids = data.draw(texts(shape), "ids")
    assert_close(gpt(ids), gpt(ids), rtol=0, atol=0)


@given(st.sampled_from(["tokens", "block 0", "block 1"]), st.sampled_from([0.1, 0.5]))
def test_drops_everywhere(model, place, dropout):
    """2,000 draws: the share kept is within 6 standard errors of what is asked for."""
    gpt = model.GPT(model.GPTConfig(**SMALL | {"n_layers": 2, "dropout": dropout}))
    for part in (gpt.norm, gpt.head):  # passed by: what comes out is the stream itself
        part.register_forward_hook(lambda _, given, __: given[0])
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.zero_()
    blocks = {f"block {n}": block.attention.output.bias for n, block in enumerate(gpt.blocks)}
    nn.init.ones_(blocks.get(place, gpt.tokens.weight))
    stream = gpt(torch.zeros(2000, 1, dtype=torch.long))
    kept = (stream != 0).to(stream.dtype)
    assert_close(stream, kept / (1 - dropout))
    assert abs(kept.mean().item() - (1 - dropout)) < 6 * (dropout * (1 - dropout) / 2000) ** 0.5


@few
@given(like_gpt2())
def test_loads_what_older_versions_saved(model, shape):
    """A file without the fields that came later is a GPT-2, as all models were then."""
    later = [*GPT2, "n_kv_heads", "window", "theta", "norm_eps"]
    gpt = build(model, shape | {"theta": 10_000.0})
    with TemporaryDirectory() as folder:
        gpt.save(Path(folder))
        path = Path(folder) / "config.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in content.items() if k not in later}))
        refusal = ""
        try:
            loaded = model.GPT.load(Path(folder))
        except ValueError as error:
            refusal = str(error)
    assert not refusal
    assert loaded.config == gpt.config
    assert_close(loaded.state_dict(), gpt.state_dict(), rtol=0, atol=0)


@few
@given(shapes(dropout=0.25))
def test_saved_and_loaded_is_the_same(model, shape):
    gpt = build(model, shape).to(torch.bfloat16 if shape["n_layers"] == 1 else None)
    refusal = ""
    with TemporaryDirectory() as folder:
        gpt.save(Path(folder) / "new")
        try:
            loaded = model.GPT.load(Path(folder) / "new")
        except ValueError as error:
            refusal = str(error)
    assert not refusal
    assert loaded.config == gpt.config
    assert_close(loaded.state_dict(), gpt.state_dict(), rtol=0, atol=0)


def cut_short(folder, data):
    path = folder / data.draw(st.sampled_from(["model.safetensors", "config.json"]), "file")
    # One byte less may only be the line's end.
    path.write_bytes(path.read_bytes()[: -data.draw(st.integers(2, path.stat().st_size), "cut")])


def missing(folder, data):
    (folder / data.draw(st.sampled_from(["model.safetensors", "config.json"]), "file")).unlink()


def field(folder, data):
    """A field from a newer version, or a value that cannot be."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change = {"format": 2}, {"kind": "tokenizer"}, {"n_experts": 8}, {"d_model": 7}, {"d_ff": 3}
    content |= data.draw(st.sampled_from(change), "change")
    path.write_text(json.dumps(content))
    return ["config.json"]


def absurd(folder, data):
    """A size, or a number of layers, for which there are no tensors."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    name = data.draw(st.sampled_from(["vocab_size", "d_model", "d_ff", "context_length"]), "name")
    content[name] = data.draw(st.sampled_from([2**62, 2**40, 2**34]), "size")
    if data.draw(st.integers(0, 4), "layers") == 4:
        content |= SMALL | {"n_layers": 2**40}
    path.write_text(json.dumps(content))
    return ["config.json"]


def field_missing(folder, data):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content[data.draw(st.sampled_from(["kind", "format", "d_model", "n_heads"]), "name")]
    path.write_text(json.dumps(content))
    return ["config.json"]


def tensor(folder, data):
    """A tensor under another name, of another shape, or of whole numbers; one too many or few."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = data.draw(st.sampled_from(sorted(tensors)), "name")
    told = ["model.safetensors"]
    match data.draw(st.sampled_from(["renamed", "shape", "dtype", "extra", "missing"]), "change"):
        case "renamed":
            tensors[f"model.{name}"] = tensors.pop(name)
        case "shape":
            told += [name, tensors[name].shape, tensors[name][None].shape]
            tensors[name] = tensors[name][None]
        case "dtype":
            tensors[name] = tensors[name].to(torch.int8)
        case "extra":
            tensors["blocks.9.attention.mask"] = torch.ones(2, 2)
        case "missing":
            del tensors[name]
    save_file(tensors, path)
    return told


@settings(max_examples=40)
@given(st.sampled_from([cut_short, missing, field, field_missing, tensor, absurd]), st.data())
def test_rejects_damaged_folder(model, damage, data):
    with TemporaryDirectory() as folder:
        model.GPT(model.GPTConfig(**SMALL)).save(Path(folder))
        told = damage(Path(folder), data) or []
        with rejects(folder, *told), memory_for(2**25):
            model.GPT.load(Path(folder))


@few
@given(shapes(), st.data())
def test_rejects_unknown_ids(model, shape, data):
    ids = data.draw(texts(shape), "ids")
    wrong = data.draw(
        st.integers(-3, -1) | st.integers(0, 3).map(lambda n: n + shape["vocab_size"])
    )
    ids[-1, data.draw(st.integers(0, ids.shape[1] - 1), "where")] = wrong
    with rejects("ids", shape["vocab_size"] - 1, wrong):
        build(model, shape)(ids)


@few
@given(shapes(), sizes(1, 3), st.data())
def test_rejects_long_text(model, shape, extra, data):
    ids = data.draw(token_ids(shape["vocab_size"], shape["context_length"] + extra), "ids")
    with rejects("context_length", shape["context_length"]):
        build(model, shape)(ids)
