import dataclasses
import json
import math
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer, models
from tokenizers.decoders import ByteLevel as Letters
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel

from disk import damaged, forbidden, memory_for, works
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT
from gptspec.sampling.stories import stories
from gptspec.tokenization import bpe as ours
from strategies import (
    assert_close,
    assert_same,
    default_type,
    keeps,
    rare_texts,
    rejects,
    sizes,
    texts,
)

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
few = settings(max_examples=15)  # each builds two models


@st.composite
def shapes(draw):
    """A small GPT-2, as its `config.json` has it."""
    n_head = draw(sizes(1, 3), "heads")
    shape = {
        "vocab_size": draw(sizes(2, 9), "vocab"),
        "n_positions": draw(sizes(6, 9), "positions"),
        "n_embd": n_head * draw(sizes(1, 4), "d_head"),
        "n_layer": draw(sizes(1, 3), "layers"),
        "n_head": n_head,
        "n_inner": draw(st.none() | sizes(1, 9), "inner"),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-6, 0.5]), "eps"),
        "tie_word_embeddings": draw(st.booleans(), "tied"),
    }
    return shape | dict.fromkeys(DROPS, draw(st.sampled_from([0.0, 0.1, 0.5]), "dropout"))


DROPS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
DEEP = {"vocab_size": 40, "n_positions": 1100, "n_embd": 96, "n_layer": 5, "n_head": 12}
dtypes = st.sampled_from(TYPES)
seeds = st.integers(0, 2**32 - 1)


def transformers(shape, seed=0, dtype=torch.float32):
    """A model of theirs, no weight of which is 0 or 1."""
    source = torch.Generator().manual_seed(seed)
    with default_type(torch.float32):
        model = GPT2LMHeadModel(GPT2Config(**shape)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=source, dtype=torch.float32) / 3)
    return model.to(dtype)


def theirs(model, ids):
    """Their logits, in float64."""
    return model.double()(ids[None]).logits[0].detach()


def wide(model):
    """Logits of ours, in float64."""
    return lambda ids: model.double().read(ids)


def count(shape, time):
    return torch.arange(time).mul(7).remainder(shape["vocab_size"])


@contextmanager
def folder_of(shape, tensors, metadata=None):
    """A folder, written by hand."""
    with TemporaryDirectory() as name:
        Path(name, "config.json").write_text(json.dumps({"model_type": "gpt2"} | shape))
        safetensors.torch.save_file(tensors, Path(name, "model.safetensors"), metadata)
        yield Path(name)


@few
@given(shapes(), sizes(1, 6), dtypes, seeds)
@example(DEEP, 300, torch.float32, 0)
def test_logits_are_those_of_transformers(gpt2, shape, time, dtype, seed):
    peer = transformers(shape, seed, dtype)
    with TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        with works():
            model = gpt2.load(Path(folder))
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    ids = count(shape, time)
    assert_close(wide(model)(ids), theirs(peer, ids))


def drawn(shape, seed=0, dtype=torch.float32):
    """Tensors with the names and shapes that the GPT-2 of the hub has."""
    d, inner = shape["n_embd"], shape["n_inner"] or 4 * shape["n_embd"]
    wanted = {"wte.weight": (shape["vocab_size"], d), "wpe.weight": (shape["n_positions"], d)}
    wanted |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    for layer in range(shape["n_layer"]):
        for name, size in {
            "ln_1": (d,), "attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d),
            "ln_2": (d,), "mlp.c_fc": (d, inner), "mlp.c_proj": (inner, d),
        }.items():  # fmt: skip
            wanted[f"h.{layer}.{name}.weight"] = size
            wanted[f"h.{layer}.{name}.bias"] = size[-1:]
    if not shape["tie_word_embeddings"]:
        wanted["lm_head.weight"] = (shape["vocab_size"], d)
    source = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(size, generator=source, dtype=torch.float32).div(3).to(dtype)
        for name, size in wanted.items()
    }


def by_hand(tensors, shape, ids):
    """GPT-2, written down once more: what a file means, in the order of OpenAI's model.py."""
    w = {name: tensor.double() for name, tensor in tensors.items()}
    heads, (time,) = shape["n_head"], ids.shape

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + shape["layer_norm_epsilon"]).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def conv(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][ids] + w["wpe.weight"][:time]
    for n in range(shape["n_layer"]):
        parts = conv(norm(x, f"h.{n}.ln_1"), f"h.{n}.attn.c_attn").view(time, 3, heads, -1)
        q, k, v = parts.permute(1, 2, 0, 3)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        future = torch.ones(time, time).triu(1).bool()
        mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        x = x + conv(mixed.transpose(0, 1).reshape(time, -1), f"h.{n}.attn.c_proj")
        h = conv(norm(x, f"h.{n}.ln_2"), f"h.{n}.mlp.c_fc")
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        x = x + conv(h, f"h.{n}.mlp.c_proj")
    return norm(x, "ln_f") @ w.get("lm_head.weight", w["wte.weight"]).mT


@st.composite
def styles(draw):
    """How a file of the hub may be written."""
    names = ["prefix", "masks", "head", "metadata", "half prefix", "old settings"]
    return {name: draw(st.booleans(), name) for name in names}


OLD = {"masks": True, "head": True, "prefix": False, "half prefix": False, "old settings": True}


def in_style(shape, tensors, style):
    """Settings and tensors as that file has them."""
    tensors = dict(tensors)
    if style["masks"]:  # as transformers wrote them until 2023
        for n in range(shape["n_layer"]):
            time = shape["n_positions"]
            tensors[f"h.{n}.attn.bias"] = torch.ones(1, 1, time, time, dtype=torch.uint8).tril()
            tensors[f"h.{n}.attn.masked_bias"] = torch.tensor(-1e4)
    if style["head"] and "lm_head.weight" not in tensors:
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    if style["prefix"]:
        tensors = {
            name if name.startswith("lm") or (style["half prefix"] and "h.0" in name)
            else f"transformer.{name}": tensor
            for name, tensor in tensors.items()
        }  # fmt: skip
    if style["old settings"]:
        shape = shape | {"n_ctx": shape["n_positions"], "n_special": 0, "task_specific_params": {}}
        shape = {name: value for name, value in shape.items() if value != USUAL.get(name, "")}
    return shape, tensors


USUAL = {"n_inner": None, "tie_word_embeddings": True, "layer_norm_epsilon": 1e-5}
USUAL |= dict.fromkeys(DROPS, 0.1)


@settings(max_examples=30)
@given(shapes(), sizes(1, 6), dtypes, seeds, styles())
@example(
    {"vocab_size": 5, "n_positions": 6, "n_embd": 4, "n_layer": 2, "n_head": 2} | USUAL,
    6, torch.float32, 1, OLD | {"metadata": False},
)  # fmt: skip
def test_means_what_it_says(gpt2, shape, time, dtype, seed, style):
    tensors = drawn(shape, seed, dtype)
    metadata = {"format": "pt"} if style["metadata"] else None
    with folder_of(*in_style(shape, tensors, style), metadata) as folder, keeps(), works():
        model = gpt2.load(folder)
        assert model.config == gpt2.config(folder)
    assert dataclasses.asdict(model.config) == dataclasses.asdict(
        GPTConfig(
            vocab_size=shape["vocab_size"], context_length=shape["n_positions"],
            d_model=shape["n_embd"], n_layers=shape["n_layer"], n_heads=shape["n_head"],
            d_ff=shape["n_inner"], dropout=shape["embd_pdrop"],
            tied=shape["tie_word_embeddings"], norm_eps=shape["layer_norm_epsilon"],
        )
    )  # fmt: skip
    ids = count(shape, time)
    assert_close(wide(model)(ids), by_hand(tensors, shape, ids))


def gpt(shape, seed=0, dtype=torch.float32):
    """A model of ours, no weight of which is 0 or 1."""
    model = GPT(
        GPTConfig(
            vocab_size=shape["vocab_size"], context_length=shape["n_positions"],
            d_model=shape["n_embd"], n_layers=shape["n_layer"], n_heads=shape["n_head"],
            d_ff=shape.get("n_inner"), dropout=shape.get("embd_pdrop", 0.1),
            tied=shape.get("tie_word_embeddings", True),
            norm_eps=shape.get("layer_norm_epsilon", 1e-5),
        )
    )  # fmt: skip
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=source, dtype=torch.float32) / 3)
    return model.to(dtype)


@few
@given(shapes(), dtypes, seeds)
@example(DEEP, torch.bfloat16, 0)
def test_saved_and_loaded_is_the_same(gpt2, shape, dtype, seed):
    model, other = gpt(shape, seed, dtype), gpt(DEEP | {"n_layer": 1})
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name, "new")
        with keeps(model), works():
            gpt2.save(other, folder)  # to be written over
            gpt2.save(model, folder)
            loaded = gpt2.load(folder)
        assert sorted(file.name for file in folder.iterdir()) == [
            "config.json", "model.safetensors"
        ]  # fmt: skip
    assert loaded.config == model.config
    assert_same(loaded, model)
    assert (loaded.head.weight is loaded.tokens.weight) == model.config.tied


@few
@given(shapes(), sizes(1, 6), dtypes, seeds)
@example(DEEP, 300, torch.float32, 0)
def test_transformers_reads_what_is_saved(gpt2, shape, time, dtype, seed):
    model = gpt(shape, seed, dtype)
    with TemporaryDirectory() as folder, patch("os.fsync"):
        gpt2.save(model, Path(folder))
        peer, told = GPT2LMHeadModel.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True
        )
        with safe_open(Path(folder, "model.safetensors"), "pt") as file:
            assert file.metadata() == {"format": "pt"}  # transformers 4 reads no other
    assert not any(told.values()), told
    found = peer.config.to_dict()
    assert {name: found[name] for name in shape} == shape
    assert peer.dtype == dtype
    ids = count(shape, time)
    assert_close(theirs(peer.eval(), ids), wide(model)(ids))


@settings(max_examples=10)
@given(shapes(), dtypes)
def test_weights_are_owned(gpt2, shape, dtype):
    with folder_of(shape, drawn(shape, 0, dtype)) as folder:
        before = (folder / "model.safetensors").read_bytes()
        with keeps():
            model = gpt2.load(folder)
        again = gpt2.load(folder)
        apart = set()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.requires_grad
                assert parameter.is_contiguous()
                assert parameter.untyped_storage().nbytes() == parameter.nbytes
                apart.add(parameter.data_ptr())
                parameter.fill_(77)
        assert len(apart) == len(list(model.parameters()))
        assert_same(again, gpt2.load(folder))
        assert (folder / "model.safetensors").read_bytes() == before


SMALL = {"vocab_size": 5, "n_positions": 4, "n_embd": 4, "n_layer": 2, "n_head": 2} | USUAL


def refuses(gpt2, call, *words):
    """The call is refused in one line with these words, in little memory."""
    message = ""
    with rejects(*words), memory_for(2**26):
        try:
            call()
        except (MemoryError, RuntimeError) as error:
            raise AssertionError(f"failed with {type(error).__name__}: {error}") from error
        except ValueError as error:
            message = str(error)
            raise
    assert "\n" not in message


SETTINGS = [
    *({"model_type": other} for other in ("gpt_neo", "llama", None, 3, ["gpt2"])),
    *({"n_layer": n} for n in (0, 1, 3, -1, 2.0, "2", True, 10**9, 2**62, 10**400, [2])),
    *({"n_head": n} for n in (0, 3, 2.0, None, 2**62)),
    *({"n_embd": n} for n in (0, 2, 8, 2**40, 2**62, "4", None)),
    *({"vocab_size": n} for n in (0, 4, 6, 2**40, 2**62, None)),
    *({"n_positions": n} for n in (0, 3, 5, 2**40, 2**62, None)),
    *({"n_inner": n} for n in (0, 15, 17, 2**40, 2**62, "16", 16.0)),
    *({"layer_norm_epsilon": eps} for eps in (0, -1e-5, math.inf, math.nan, 10**400, "1e-5", None)),
    *({"activation_function": name} for name in ("gelu", "relu", "silu", None)),
    {"scale_attn_weights": False},
    {"scale_attn_by_inverse_layer_idx": True},
    {"reorder_and_upcast_attn": True},
    {"add_cross_attention": True},
    *({name: 0.2} for name in DROPS),
    *(dict.fromkeys(DROPS, p) for p in (1.0, -0.1, "0.1", None)),
    *({"tie_word_embeddings": value} for value in (False, None, 1)),
]  # fmt: skip


@settings(max_examples=250)  # enough to try them all
@given(st.sampled_from(range(len(SETTINGS))))
def test_rejects_other_settings(gpt2, case):
    with folder_of(SMALL | SETTINGS[case], drawn(SMALL)) as folder:
        refuses(gpt2, lambda: gpt2.load(folder), folder)
    with folder_of(SMALL, drawn(SMALL)) as folder, works():
        gpt2.load(folder)


def renamed(old, new):
    return lambda t: {new if name == old else name: value for name, value in t.items()}


def put(name, change):
    return lambda t: t | {name: change(t.get(name, t["wte.weight"]))}


TENSORS = {
    "none": lambda _: {},
    "none but one": lambda t: {"wte.weight": t["wte.weight"]},
    "one missing": lambda t: {n: v for n, v in t.items() if n != "h.1.ln_2.bias"},
    "another name": renamed("h.1.ln_2.bias", "h.1.ln_3.bias"),
    "another layer": renamed("h.1.ln_2.bias", "h.2.ln_2.bias"),
    "a bias of the past": renamed("h.1.ln_2.bias", "h.1.attn.bias"),
    "another prefix": lambda t: {f"model.{n}": v for n, v in t.items()},
    "twice": lambda t: t | {f"transformer.{n}": v.clone() for n, v in t.items()},
    "one twice": lambda t: t | {"transformer.ln_f.bias": t["ln_f.bias"].clone()},
    "one more": put("h.1.ln_3.bias", lambda v: v[0].clone()),
    "a classifier's": put("score.weight", lambda v: v[:2].clone()),
    "a head that differs": put("lm_head.weight", lambda v: v + 1),
    "a head in another shape": put("lm_head.weight", lambda v: v[1:].clone()),
    "a head that is a number": put("lm_head.weight", lambda v: v[0, 0].clone()),
    "a head without embedding": renamed("wte.weight", "lm_head.weight"),
    "a row too few": put("h.1.mlp.c_fc.weight", lambda v: v[1:].clone()),
    "a column too few": put("h.0.attn.c_attn.weight", lambda v: v[:, 1:].contiguous()),
    "as Linear has it": put("h.1.attn.c_attn.weight", lambda v: v.t().contiguous()),
    "no matrix": put("h.1.attn.c_proj.weight", lambda v: v.flatten()),
    "three axes": put("h.1.attn.c_proj.weight", lambda v: v[None].clone()),
    "a number": put("ln_f.weight", lambda v: v[0].clone()),
    "fewer positions": put("wpe.weight", lambda v: v[1:].clone()),
    "whole numbers": lambda t: {n: v.to(torch.int8) for n, v in t.items()},
    "8 bits": lambda t: {n: v.to(torch.float8_e4m3fn) for n, v in t.items()},
    "two types": put("ln_f.bias", lambda v: v.half()),
}  # fmt: skip


@settings(max_examples=100)  # enough to try them all
@given(st.sampled_from(sorted(TENSORS)))
def test_rejects_other_tensors(gpt2, case):
    with folder_of(SMALL, TENSORS[case](drawn(SMALL))) as folder:
        refuses(gpt2, lambda: gpt2.load(folder), folder / "model.safetensors")
    untied = SMALL | {"tie_word_embeddings": False}
    tensors = drawn(untied)
    del tensors["lm_head.weight"]
    with folder_of(untied, tensors) as folder:
        refuses(gpt2, lambda: gpt2.load(folder), folder / "model.safetensors")


class Program:
    """What a pickle runs when it is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a program in a file was run')",)


@settings(max_examples=20)
@given(st.sampled_from(["pickle", "pickle beside", "shards", "absent", "file", "empty", "index"]))
def test_nothing_is_unpickled(gpt2, case):
    with folder_of(SMALL, drawn(SMALL)) as folder:
        weights, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
        torch.save({"wte.weight": Program()}, pickled)
        if case == "pickle beside":
            with forbidden(pickled), works():
                gpt2.load(folder)
            return
        words = {
            "pickle": (pickled, "pickle", "save_pretrained"),
            "shards": (folder, "several files", "save_pretrained"),
            "index": (folder, "several files", "save_pretrained"),
            "file": (weights / "config.json",),
            "empty": (weights,),
        }.get(case, (weights,))
        if case == "file":
            refuses(gpt2, lambda: gpt2.load(weights), *words)
            return
        weights.unlink()
        if case != "pickle":
            pickled.unlink()
        if case in {"shards", "index"}:
            (folder / "model.safetensors.index.json").write_text("{}")
            (folder / "model-00001-of-00002.safetensors").touch()
        if case == "empty":
            weights.mkdir()
        with forbidden(pickled):
            refuses(gpt2, lambda: gpt2.load(folder), *words)


LLAMA = {"positions": "rotary", "norm": "rms", "feed_forward": "swiglu", "bias": False}
OTHERS = [{name: value} for name, value in LLAMA.items()]
OTHERS += [{"positions": other} for other in ("sinusoidal", "none", "alibi", "relative")]
OTHERS += [{"n_kv_heads": 1}, {"window": 2}, LLAMA]


@settings(max_examples=40)
@given(st.sampled_from(OTHERS))
def test_saves_gpt2_only(gpt2, other):
    shape = {"vocab_size": 5, "context_length": 4, "d_model": 4, "n_layers": 1, "n_heads": 2}
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name, "new")
        with rejects(next(iter(other))):
            gpt2.save(GPT(GPTConfig(**shape | other)), folder)
        assert not folder.exists()
        model = GPT(GPTConfig(**shape, n_kv_heads=2))
        with works():
            gpt2.save(model, folder)
        assert_same(gpt2.load(folder).state_dict(), model.state_dict())


# The tokenizer.

END = "<|endoftext|>"
MORE = (END, "<|pad|>")


@cache
def learned(specials=(END,)):
    """A tokenizer of a few hundred tokens: words, signs, spaces, letters with marks."""
    signs = ["== ## a##b #! -- '' 2024 007 naïve 日本語 🙂 e\u0301 \n\n  \t\t    x #version"] * 30
    return ours.train([*stories(40, seed=0), *signs], 600, specials=specials)


@cache
def spelled(specials=(END,)):
    """Its tokens and merges in the alphabet of GPT-2, written down once more."""
    letters = sorted(ByteLevel.alphabet())
    seen = [b for b in range(256) if chr(b) in letters]
    others = iter(sorted(c for c in letters if ord(c) > 255))
    tokens = [chr(b) if b in seen else next(others) for b in range(256)]
    merges = []
    for left, right in learned(specials).merges:
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return sorted(tokens[:256]) + tokens[256:], merges


@cache
def peer(specials):
    tokens, merges = spelled(specials)
    vocab = {token: id for id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Letters()
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


@cache
def contents(style):
    """The files of a tokenizer."""
    tokens, merges = spelled(MORE if style == "new" else (END,))
    if style in {"two files", "windows", "no version"}:
        vocab = {token: id for id, token in enumerate([*tokens, END])}
        lines = [f"{a} {b}" for a, b in merges]
        lines = lines if style == "no version" else ["#version: 0.2", *lines]
        return {
            "vocab.json": json.dumps(dict(sorted(vocab.items())), ensure_ascii=style == "windows"),
            "merges.txt": ("\r\n" if style == "windows" else "\n").join([*lines, ""]),
        }
    content = json.loads(peer(MORE if style == "new" else (END,)).to_str())
    if style == "old":  # as tokenizers wrote it until 0.19
        content["model"]["merges"] = [f"{a} {b}" for a, b in merges]
        content["model"]["vocab"][END] = len(tokens)
        content["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
        del content["model"]["type"], content["pre_tokenizer"]["use_regex"]
    return {"tokenizer.json": json.dumps(content)}


@contextmanager
def written(contents):
    with TemporaryDirectory() as name:
        for file, text in contents.items():
            Path(name, file).write_bytes(text if isinstance(text, bytes) else text.encode())
        yield Path(name)


MADE = {}


def made(gpt2, style):
    """The tokenizer under test, read once of each style."""
    key = gpt2.__file__, id(gpt2), style
    if key not in MADE:
        with written(contents(style)) as folder, works():
            MADE[key] = gpt2, gpt2.load_vocabulary(folder)
    return MADE[key][1]


STYLES = ("two files", "windows", "no version", "new", "old")


@rare_texts(style="two files", specials=True)
@example(text=f"a{END}#version: # # ## #! {MORE[1]}", style="new", specials=True)
@example(text="#version: # # ## #!", style="old", specials=False)
@example(text="#version: # # ## #! the", style="no version", specials=False)
@example(text="#version: # # ## #! the", style="windows", specials=False)
@given(text=texts(), style=st.sampled_from(STYLES), specials=st.booleans())
def test_ids_are_those_of_tokenizers(gpt2, text, style, specials):
    theirs = peer(MORE if style == "new" else (END,))
    theirs.encode_special_tokens = not specials
    vocabulary = made(gpt2, style)
    ids = vocabulary.encode(text, specials=specials)
    assert ids == theirs.encode(text).ids
    assert vocabulary.decode(ids) == text
    assert vocabulary.vocab_size == theirs.get_vocab_size()
    assert vocabulary.encode(END, specials=True) == [len(spelled()[0])]


def edited(style, *path, change):
    """Files of which one value is another."""
    files = dict(contents(style))
    name = next(iter(files))
    content = at = json.loads(files[name])
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = change(at.get(path[-1]) if isinstance(at, dict) else at[path[-1]])
    return files | {name: json.dumps(content)}


def to(value):
    return lambda _: value


def merges_as(change):
    files = contents("two files")
    return files | {"merges.txt": change(files["merges.txt"])}


def vocab_as(change):
    files = contents("two files")
    return files | {"vocab.json": json.dumps(change(json.loads(files["vocab.json"])))}


BROKEN = {
    "nothing": dict,
    "no merges": lambda: {"vocab.json": contents("two files")["vocab.json"]},
    "no vocabulary": lambda: {"merges.txt": contents("two files")["merges.txt"]},
    "merges cut": lambda: merges_as(lambda text: text[: len(text) // 2]),
    "merges that are not UTF-8": lambda: merges_as(lambda text: text.encode("utf-16")),
    "a merge of three": lambda: merges_as(lambda text: text.replace("\n", " x\n")),
    "merges in another order": lambda: merges_as(lambda t: "\n".join(t.split("\n")[::-1])),
    "a list": lambda: {**contents("two files"), "vocab.json": "[]"},
    "a number": lambda: {**contents("two files"), "vocab.json": "3"},
    "no token": lambda: {**contents("two files"), "vocab.json": "{}"},
    "deep": lambda: {**contents("two files"), "vocab.json": '{"a":' * 100_000},
    "an id twice": lambda: vocab_as(lambda v: v | {"!": 1}),
    "an id too large": lambda: vocab_as(lambda v: v | {"!": 2**62}),
    "an id below 0": lambda: vocab_as(lambda v: v | {"!": -1}),
    "an id of text": lambda: vocab_as(lambda v: v | {"!": "0"}),
    "an id of True": lambda: vocab_as(lambda v: v | {v_: True for v_ in v if v[v_] == 1}),
    "ids in lists": lambda: vocab_as(lambda v: {t: [i] for t, i in v.items()}),
    "a byte missing": lambda: vocab_as(lambda v: {t: i - 1 for t, i in v.items() if i}),
    "a token that nothing makes": lambda: vocab_as(lambda v: v | {"xyzzy": len(v)}),
    "another model": lambda: edited("new", "model", "type", change=to("Unigram")),
    "no model": lambda: edited("new", "model", change=to(None)),
    "no vocab": lambda: edited("new", "model", "vocab", change=to(None)),
    "no merges in it": lambda: edited("new", "model", "merges", change=to(None)),
    "merges of numbers": lambda: edited("new", "model", "merges", change=to([[1, 2]])),
    "a merge that is a number": lambda: edited("new", "model", "merges", change=to([3])),
    "dropout": lambda: edited("new", "model", "dropout", change=to(0.1)),
    "a prefix": lambda: edited("new", "model", "continuing_subword_prefix", change=to("##")),
    "a suffix": lambda: edited("new", "model", "end_of_word_suffix", change=to("</w>")),
    "whole words first": lambda: edited("new", "model", "ignore_merges", change=to(True)),
    "a normalizer": lambda: edited("new", "normalizer", change=to({"type": "NFC"})),
    "no cuts": lambda: edited("new", "pre_tokenizer", change=to(None)),
    "cuts in a list": lambda: edited("new", "pre_tokenizer", change=to(["ByteLevel"])),
    "other cuts": lambda: edited("new", "pre_tokenizer", "type", change=to("Whitespace")),
    "a space in front": lambda: edited("new", "pre_tokenizer", "add_prefix_space", change=to(True)),
    "no pattern": lambda: edited("new", "pre_tokenizer", "use_regex", change=to(False)),
    "an added word": lambda: edited("new", "added_tokens", 0, "special", change=to(False)),
    "a greedy special": lambda: edited("new", "added_tokens", 0, "lstrip", change=to(True)),
    "a special without text": lambda: edited("new", "added_tokens", 0, "content", change=to(None)),
    "a special with another id": lambda: edited("new", "added_tokens", 0, "id", change=to(3)),
    "a special without id": lambda: edited("new", "added_tokens", 0, "id", change=to(None)),
    "no added tokens but a number": lambda: edited("new", "added_tokens", change=to([3])),
    "added tokens that are a number": lambda: edited("new", "added_tokens", change=to(3)),
}


@settings(max_examples=150)  # enough to try them all
@given(st.sampled_from(sorted(BROKEN)))
def test_rejects_other_tokenizers(gpt2, case):
    with written(BROKEN[case]()) as folder:
        refuses(gpt2, lambda: gpt2.load_vocabulary(folder), folder)


# Damage.


@cache
def sound():
    """The two files of a small model."""
    with folder_of(SMALL, in_style(SMALL, drawn(SMALL), OLD | {"metadata": True})[1]) as folder:
        return {file.name: file.read_bytes() for file in folder.iterdir()}


def attempt(gpt2, files):
    """What a folder holds is read as it is, or refused in one line that names it."""
    with written(files) as folder:
        message = None
        try:
            with memory_for(2**28):
                model = gpt2.load(folder)
        except ValueError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"failed with {type(error).__name__}: {error}") from error
    if message is None:
        whole = {name: weight for name, weight in drawn(SMALL).items() if weight.ndim == 1}
        assert_same(model.norm.weight.detach(), whole["ln_f.weight"])
        assert_same(model.blocks[1].feed_forward.up.bias.detach(), whole["h.1.mlp.c_fc.bias"])
        assert json.loads(files["config.json"])["n_layer"] == model.config.n_layers == 2
    else:
        assert str(folder) in message
        assert "\n" not in message


@settings(max_examples=100)
@given(damaged(sound()))
def test_damage_is_refused_in_one_line(gpt2, files):
    attempt(gpt2, files)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(damaged(sound()))
def test_ten_thousand_damaged_folders(gpt2, files):
    attempt(gpt2, files)
