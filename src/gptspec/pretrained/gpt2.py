"""GPT-2: a GPT from the folder of a Hugging Face model, and such a folder from a GPT."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gptspec import files
from gptspec.checks import check
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT
from gptspec.pretrained.vocabulary import PATTERNS, Vocabulary, from_tokens
from gptspec.tokenization.words import END_OF_TEXT

# Names in the file, and those of ours whose columns lie side by side there.
WHOLE = {"wte": ["tokens"], "wpe": ["positions"], "ln_f": ["norm"]}
LAYER = {
    "ln_1": ["attention_norm"],
    "attn.c_attn": ["attention.query", "attention.key", "attention.value"],
    "attn.c_proj": ["attention.output"],
    "ln_2": ["feed_forward_norm"],
    "mlp.c_fc": ["feed_forward.up"],
    "mlp.c_proj": ["feed_forward.down"],
}
MASK = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # a causal mask, which older files hold
HEAD = "lm_head.weight"
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

# What a file that leaves a setting out means by that.
USUAL = {
    "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
    "n_inner": None, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
    "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1,
}  # fmt: skip
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner")
# Settings of which another value would need another model.
FIXED = {
    "activation_function": "gelu_new", "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
}  # fmt: skip

CUTS = {"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}
UNUSED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")


def config(folder: Path) -> GPTConfig:
    """Return the shape of the GPT in a folder.

    Raises:
        ValueError: If there is no `config.json`, it is no GPT-2's, or a setting is of a wrong
            kind, or is one that `GPT` does not have.

    Source:
        transformers 5.23, `configuration_gpt2.py`.
    """
    path = folder / "config.json"
    content = files.parse_json(path)
    try:
        family = content.get("model_type") if isinstance(content, dict) else None
        check("model_type", family, family == "gpt2", "gpt2")
        for name, value in FIXED.items():
            found = content.get(name, value)
            check(name, found, found == value, f"{value!r}, or absent")
        settings = USUAL | content
        for name in SIZES:
            size = settings[name]
            known = (type(size) is int and size > 0) or (name == "n_inner" and size is None)
            check(name, size, known, "a whole number of at least 1")
        drops = [settings[f"{part}_pdrop"] for part in ("resid", "embd", "attn")]
        check("resid_pdrop, embd_pdrop, attn_pdrop", drops, drops == drops[:1] * 3, "one number")
        for name, most in {"attn_pdrop": 1, "layer_norm_epsilon": 1e30}.items():
            value = settings[name]
            known = type(value) in {int, float} and 0 <= value < most
            check(name, value, known, f"at least 0 and below {most}")
        tied = settings["tie_word_embeddings"]
        check("tie_word_embeddings", tied, isinstance(tied, bool), "true or false")
        return GPTConfig(
            vocab_size=settings["vocab_size"],
            context_length=settings["n_positions"],
            d_model=settings["n_embd"],
            n_layers=settings["n_layer"],
            n_heads=settings["n_head"],
            d_ff=settings["n_inner"],
            dropout=float(drops[0]),
            tied=tied,
            norm_eps=float(settings["layer_norm_epsilon"]),
        )
    except ValueError as error:
        raise ValueError(f"{path} describes no GPT-2 known here: {error}") from error


def load(folder: Path) -> GPT:
    """Return the GPT in a folder, its weights in the type that they have there.

    Raises:
        ValueError: As `config`, or if there is no `model.safetensors`, or a tensor in it is
            missing, too many, or of another shape or type.

    Source:
        transformers 5.23, `modeling_gpt2.py`, and `Conv1D` in `pytorch_utils.py`.
    """
    shape, path = config(folder), folder / "model.safetensors"
    if not path.exists() and (folder / "pytorch_model.bin").exists():
        raise ValueError(
            f"{folder / 'pytorch_model.bin'} is a pickle, which can run any program when it is "
            "read: let transformers write model.safetensors, by model.save_pretrained(folder)"
        )
    if not path.exists() and (folder / "model.safetensors.index.json").exists():
        raise ValueError(
            f"{folder} has its weights in several files: let transformers write one, "
            'by model.save_pretrained(folder, max_shard_size="1TB")'
        )
    found = files.read_tensors(path)
    try:
        return _made(shape, found)
    except ValueError as error:
        raise ValueError(f"{path} does not hold what config.json describes: {error}") from error


def _made(shape: GPTConfig, found: Mapping[str, Tensor]) -> GPT:
    tensors: dict[str, Tensor] = {}
    for name, tensor in found.items():
        bare = name.removeprefix("transformer.")
        check("name", name, bare not in tensors, "given once, with transformer. or without")
        if not MASK.fullmatch(bare):
            tensors[bare] = tensor
    types = {tensor.dtype for tensor in tensors.values()}
    check("types", types, len(types) == 1 and types <= {*TYPES}, f"one of {TYPES}")
    head = tensors.get(HEAD)
    if shape.tied and head is not None:
        same = "wte.weight" in tensors and torch.equal(head, tensors["wte.weight"])
        check(HEAD, "another matrix", same, "wte.weight, by tie_word_embeddings")
        del tensors[HEAD]
    # Sizes are believed when a tensor has them, and only then is a model made.
    n_wanted = 5 - shape.tied + 12 * shape.n_layers
    check("tensors", len(tensors), len(tensors) == n_wanted, f"{n_wanted}")
    for name, wanted in {
        "wte.weight": (shape.vocab_size, shape.d_model),
        "wpe.weight": (shape.context_length, shape.d_model),
        "h.0.mlp.c_fc.weight": (shape.d_model, shape.feed_forward_width),
    }.items():
        _check_shape(name, tensors, wanted)
    with torch.device("meta"):  # no memory, no random draws: all weights come from the file
        model = GPT(shape)
    ours = dict(model.named_parameters())
    weights = {}
    for name, parts in _places(shape).items():
        like = ours[parts[0]].shape
        wanted = like[0] * len(parts), *like[1:]
        _check_shape(name, tensors, wanted[::-1] if name.startswith("h.") else wanted)
        rows = _flipped(name, tensors[name].to(torch.get_default_device()))
        for part, weight in zip(parts, rows.chunk(len(parts)), strict=True):
            weights[part] = weight.clone(memory_format=torch.contiguous_format)
    model.load_state_dict(weights, strict=not shape.tied, assign=True)
    if shape.tied:
        model.head.weight = model.tokens.weight
    return model


def _check_shape(name: str, tensors: Mapping[str, Tensor], wanted: tuple[int, ...]) -> None:
    found = tuple(tensors[name].shape) if name in tensors else None
    check(f"shape of {name}", found, found == wanted, f"{wanted}")


def _places(shape: GPTConfig) -> dict[str, list[str]]:
    """Return the file's names, each with those of our parameters that it holds."""
    places = {f"{name}.weight": [f"{ours[0]}.weight"] for name, ours in WHOLE.items()}
    places["ln_f.bias"] = ["norm.bias"]
    if not shape.tied:
        places[HEAD] = ["head.weight"]
    for layer in range(shape.n_layers):
        for name, parts in LAYER.items():
            for kind in ("weight", "bias"):
                ours = [f"blocks.{layer}.{part}.{kind}" for part in parts]
                places[f"h.{layer}.{name}.{kind}"] = ours
    return places


def _flipped(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor of ours as the file has it, or the other way round.

    GPT-2 computes `x @ weight + bias` in its blocks, where `Linear` has `x @ weight.T + bias`.
    """
    return tensor.t() if name.startswith("h.") else tensor


def save(model: GPT, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, which transformers and `load` read.

    Raises:
        ValueError: If the model has a shape that GPT-2 does not have.
        OSError: If the files cannot be written.

    Examples:
        >>> import tempfile
        >>> shape = GPTConfig(vocab_size=5, context_length=4, d_model=4, n_layers=1, n_heads=2)
        >>> model = GPT(shape)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(model, Path(folder))
        ...     again = load(Path(folder))
        >>> torch.equal(again.tokens.weight, model.tokens.weight)
        True
    """
    shape = model.config
    for name, fits, wanted in [
        ("positions", shape.positions == "learned", "learned"),
        ("norm", shape.norm == "layer", "layer"),
        ("feed_forward", shape.feed_forward == "gelu", "gelu"),
        ("bias", shape.bias, "True"),
        ("n_kv_heads", shape.n_kv_heads in {None, shape.n_heads}, "None"),
        ("window", shape.window is None, "None"),
    ]:
        check(name, getattr(shape, name), fits, f"{wanted} in a GPT-2")
    content = FIXED | {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": shape.vocab_size,
        "n_positions": shape.context_length,
        "n_embd": shape.d_model,
        "n_layer": shape.n_layers,
        "n_head": shape.n_heads,
        "n_inner": shape.d_ff,
        "layer_norm_epsilon": shape.norm_eps,
        "tie_word_embeddings": shape.tied,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), shape.dropout),
        **dict.fromkeys(("bos_token_id", "eos_token_id")),
    }
    ours = {name: parameter.detach() for name, parameter in model.named_parameters()}
    tensors = {
        name if name == HEAD else f"transformer.{name}": _flipped(
            name, torch.cat([ours[part] for part in parts])
        ).contiguous()
        for name, parts in _places(shape).items()
    }
    # Transformers before 5 reads no file that does not say so.
    files.write(
        folder / "model.safetensors", safetensors.torch.save(tensors, metadata={"format": "pt"})
    )
    files.write(folder / "config.json", json.dumps(content, indent=2).encode() + b"\n")


def load_vocabulary(folder: Path) -> Vocabulary:
    """Return the tokenizer in a folder: of `tokenizer.json`, or of `vocab.json` and `merges.txt`.

    Raises:
        ValueError: If a file is missing or damaged, or the tokenizer does something else than
            GPT-2's.

    Source:
        tokenizers 0.23, `models/bpe`; transformers 5.23, `tokenization_gpt2.py`.
    """
    path = folder / "tokenizer.json"
    whole = path.exists()
    if not whole:
        path = folder / "vocab.json"
    content = files.parse_json(path)
    try:
        if whole:
            numbers, pairs, specials = _of_tokenizer(content)
        else:
            pairs = _merges(folder / "merges.txt")
            check("content", type(content), isinstance(content, dict), "ids by token")
            numbers, specials = content, [END_OF_TEXT] if END_OF_TEXT in content else []
        ids = [*numbers.values()]
        fits = all(type(id) is int for id in ids) and sorted(ids) == [*range(len(ids))]
        check("ids", "others", fits, "those from 0 on, each once")
        tokens = sorted(numbers, key=numbers.__getitem__)
        specials.sort(key=numbers.__getitem__)
        vocabulary = from_tokens(tokens, pairs, specials, PATTERNS["gpt-2"])
        absent = vocabulary.ids[:256].count(None)
        check("bytes without a token", absent, not absent, "none")
    except ValueError as error:
        raise ValueError(f"{path} is no tokenizer of GPT-2: {error}") from error
    return vocabulary


def _merges(path: Path) -> list[list[str]]:
    """Return the merges in a `merges.txt`: a line each, perhaps after one with the version."""
    try:
        lines = files.read(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {files.reason(error)}") from error
    first = 1 if lines and lines[0].startswith("#version") else 0
    return [line.split(" ") for line in lines[first:] if line]


def _of_tokenizer(content: Any) -> tuple[dict[str, Any], list[list[str]], list[str]]:
    """Return ids, merges and special tokens of a `tokenizer.json`."""
    content = content if isinstance(content, dict) else {}
    model, cuts = content.get("model"), content.get("pre_tokenizer")
    check("model", type(model), isinstance(model, dict), "there")
    if isinstance(cuts, dict):
        cuts = {"use_regex": True} | {name: cuts[name] for name in cuts if name != "trim_offsets"}
    for name, value, wanted in [
        ("pre_tokenizer", cuts, CUTS),
        ("normalizer", content.get("normalizer"), None),
        ("model.type", model.get("type", "BPE"), "BPE"),
        *((f"model.{name}", model.get(name) or None, None) for name in UNUSED),
    ]:
        check(name, value, value == wanted, f"{wanted}, as GPT-2's is")
    numbers, merges, added = model.get("vocab"), model.get("merges"), content.get("added_tokens")
    check("model.vocab", type(numbers), isinstance(numbers, dict), "ids by token")
    check("model.merges", type(merges), isinstance(merges, list), "a list")
    # Up to tokenizers 0.19 a merge was a text with a space in it.
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    for rank, pair in enumerate(pairs):
        texts = isinstance(pair, list) and all(isinstance(part, str) for part in pair)
        check(f"merges[{rank}]", pair, texts, "two texts")
    added = added or []
    check("added_tokens", type(added), isinstance(added, list), "a list")
    specials = {}
    for token in added:
        plain = isinstance(token, dict) and token.get("special") is True
        plain = plain and isinstance(token.get("content"), str)
        plain = plain and not any(token.get(name) for name in ("single_word", "lstrip", "rstrip"))
        check("added_tokens", token, plain, "special, and found as they are written")
        specials[token["content"]] = token.get("id")
    return specials | numbers | specials, pairs, [*specials]
