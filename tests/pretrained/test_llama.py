import dataclasses
from functools import cache

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from disk import memory_for, works
from ggufs import TYPES, Type, theirs, written
from ggufs import llama as small
from gptspec.pretrained import gguf
from strategies import assert_close, default_type, keeps, rejects, single_precision, sizes

QUANTIZED = (Type.Q4_0, Type.Q4_1, Type.Q8_0)


@st.composite
def shapes(draw):
    """A small Llama, wide enough for its weights to be stored in blocks of 32."""
    type = draw(st.sampled_from(TYPES), "type")
    block = 32 if type in QUANTIZED else 1
    n_kv_heads, repeats = draw(sizes(1, 3), "kv heads"), draw(sizes(1, 3), "repeats")
    d_head = draw(st.sampled_from([32, 64] if block == 32 else [2, 4, 6, 16]), "d_head")
    return {
        "vocab_size": draw(sizes(2, 9), "vocab"),
        "context_length": draw(sizes(6, 9), "context"),
        "n_layers": draw(sizes(1, 3), "layers"),
        "n_kv_heads": n_kv_heads,
        "repeats": repeats,
        "d_head": d_head,
        "d_ff": block * draw(sizes(1, 3), "d_ff"),
        "tied": draw(st.booleans(), "tied"),
        "theta": draw(st.sampled_from([10.0, 10_000.0, 500_000.0]), "theta"),
        "eps": draw(st.sampled_from([1e-6, 1e-5, 0.5]), "eps"),
        "type": type,
        "seed": draw(st.integers(0, 2**32 - 1), "seed"),
    }


WIDE = {"vocab_size": 40, "context_length": 1100, "n_kv_heads": 4, "repeats": 3, "d_head": 8}
DEEP = {"n_layers": 5, "d_head": 32, "n_kv_heads": 2, "type": Type.Q4_1}


@settings(max_examples=12)  # each builds two models
@given(shapes(), st.integers(1, 6))
@example(DEEP, 5)
@example(WIDE, 1100)
def test_logits_are_those_of_transformers(llama, shape, time):
    metadata, tensors = small(**shape)
    with written(metadata, tensors) as path, single_precision():
        with works():
            model = llama.load(gguf.read(path)).double()
        peer = theirs(path).double()
    ids = torch.arange(time).mul(7).remainder(shape.get("vocab_size", 8))
    with default_type(torch.float64):  # both turn by angles in float32 at best
        expected = peer(ids[None]).logits[0]
    error = (model.read(ids) - expected).abs().max() / expected.abs().max()
    assert error < 1e-4, f"off by {error:.2g}"


@settings(max_examples=12)
@given(shapes())
def test_shape_is_the_files(llama, shape):
    metadata, tensors = small(**shape)
    heads = shape["n_kv_heads"] * shape["repeats"]
    with written(metadata, tensors) as path:
        file = gguf.read(path)
        found = dataclasses.asdict(llama.config(file))
    assert_close(found.pop("theta"), shape["theta"])
    assert_close(found.pop("norm_eps"), shape["eps"], rtol=1e-6, atol=0)
    assert found == {
        "vocab_size": shape["vocab_size"], "context_length": shape["context_length"],
        "d_model": heads * shape["d_head"], "n_layers": shape["n_layers"], "n_heads": heads,
        "d_ff": shape["d_ff"], "dropout": 0.0, "bias": False, "tied": shape["tied"],
        "positions": "rotary", "norm": "rms", "feed_forward": "swiglu",
        "n_kv_heads": shape["n_kv_heads"], "window": None,
    }  # fmt: skip
    for name in ("llama.rope.freq_base", "llama.attention.head_count_kv", "llama.vocab_size"):
        del metadata[name]
    default = llama.config(gguf.GGUF({"general.architecture": "llama", **metadata}, file.tensors))
    assert (default.theta, default.n_kv_heads) == (10_000.0, None)


@settings(max_examples=10)
@given(shapes())
def test_weights_are_owned(llama, shape):
    with written(*small(**shape)) as path:
        file = gguf.read(path)
    before = {name: tensor.decode() for name, tensor in file.tensors.items()}
    with keeps():
        model = llama.load(file)
    assert (model.head.weight is model.tokens.weight) == shape["tied"]
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.dtype == torch.float32
            assert parameter.requires_grad
            assert not parameter.is_meta
            parameter.fill_(77)
    with keeps(*before.values()):
        assert all(torch.equal(file.tensors[name].decode(), before[name]) for name in before)


@cache
def sound():
    with written(*small(n_layers=2)) as path:
        return gguf.read(path)


def without(name):
    return lambda file: ({k: v for k, v in file.metadata.items() if k != name}, file.tensors)


def setting(name, value):
    return lambda file: ({**file.metadata, name: value}, file.tensors)


def lacking(name):
    return lambda file: (file.metadata, {k: v for k, v in file.tensors.items() if k != name})


def tensor(name, other):
    return lambda file: (file.metadata, {**file.tensors, name: file.tensors[other]})


WRONG = [
    setting("general.architecture", "qwen2"),
    without("general.architecture"),
    *(without(f"llama.{name}") for name in (
        "context_length", "embedding_length", "block_count", "attention.head_count",
        "attention.layer_norm_rms_epsilon",
    )),
    *(setting("llama.block_count", value) for value in (0, 1, 3, 2**32 - 1, 2**62, "2", None, [2])),
    *(setting("llama.embedding_length", value) for value in (0, 33, 2**40, -2, 32.0)),
    setting("llama.attention.head_count", 3),
    setting("llama.attention.head_count", [2, 2]),
    setting("llama.attention.head_count_kv", 2),
    setting("llama.feed_forward_length", 33),
    setting("llama.feed_forward_length", 2**50),
    setting("llama.rope.dimension_count", 8),
    setting("llama.attention.key_length", 8),
    setting("llama.attention.value_length", 8),
    setting("llama.rope.scaling.type", "linear"),
    setting("llama.expert_count", 8),
    setting("llama.attention.sliding_window", 4096),
    setting("llama.rope.freq_base", 0.0),
    setting("llama.attention.layer_norm_rms_epsilon", float("nan")),
    lacking("token_embd.weight"),
    lacking("output_norm.weight"),
    lacking("blk.1.attn_k.weight"),
    tensor("rope_freqs.weight", "output_norm.weight"),
    tensor("blk.0.attn_q.bias", "output_norm.weight"),
    tensor("blk.0.attn_k.weight", "blk.0.attn_q.weight"),
    tensor("output_norm.weight", "token_embd.weight"),
]  # fmt: skip


@settings(max_examples=200)  # enough to try them all
@given(st.sampled_from(range(len(WRONG))))
def test_rejects_what_it_is_not(llama, case):
    metadata, tensors = WRONG[case](sound())
    try:
        with rejects(), memory_for(2**25):
            llama.load(gguf.GGUF(metadata, tensors))
    except (MemoryError, RuntimeError) as error:
        raise AssertionError(f"failed with {type(error).__name__}: {error}") from error
