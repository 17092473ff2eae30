"""Llama: a GPT with the shape and the weights that a GGUF file of this family holds."""

import torch

from gptspec.checks import check
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT
from gptspec.positions.rotary import interleaved_to_halves
from gptspec.pretrained.gguf import GGUF

WHOLE = {
    "token_embd": "tokens",
    "output_norm": "norm",
    "output": "head",
}
LAYER = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.output",
    "ffn_norm": "feed_forward_norm",
    "ffn_gate": "feed_forward.gate",
    "ffn_up": "feed_forward.up",
    "ffn_down": "feed_forward.down",
}
# Settings that would need another model, and what they may be.
PLAIN = {
    "rope.scaling.type": ("none",),
    "expert_count": (0,),
    "attention.sliding_window": (0,),
    "attention.causal": (True,),
}


def config(file: GGUF) -> GPTConfig:
    """Return the shape of the GPT in a file.

    Raises:
        ValueError: If it is no Llama, a setting is missing or of a wrong kind, or one is set that
            `GPT` does not have.
    """
    family = file.metadata.get("general.architecture")
    check("general.architecture", family, family == "llama", "llama")
    settings = {
        name.removeprefix("llama."): value
        for name, value in file.metadata.items()
        if name.startswith("llama.")
    }
    for name, allowed in PLAIN.items():
        value = settings.get(name, allowed[0])
        check(f"llama.{name}", value, value in allowed, f"{allowed[0]!r}, or absent")
    shape = {
        "vocab_size": file.tensors["token_embd.weight"].shape[0]
        if "token_embd.weight" in file.tensors
        else None,
        "context_length": settings.get("context_length"),
        "d_model": settings.get("embedding_length"),
        "n_layers": settings.get("block_count"),
        "n_heads": settings.get("attention.head_count"),
        "n_kv_heads": settings.get("attention.head_count_kv"),
        "d_ff": settings.get("feed_forward_length"),
        "theta": settings.get("rope.freq_base", 10_000.0),
        "norm_eps": settings.get("attention.layer_norm_rms_epsilon"),
    }
    made = GPTConfig(
        **shape,
        bias=False,
        tied="output.weight" not in file.tensors,
        positions="rotary",
        norm="rms",
        feed_forward="swiglu",
    )
    for name in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        width = settings.get(name, made.d_model // made.n_heads)
        fits = width == made.d_model // made.n_heads
        check(f"llama.{name}", width, fits, f"{made.d_model // made.n_heads}, the width of a head")
    return made


def load(file: GGUF) -> GPT:
    """Return the GPT whose shape and weights a file holds, in float32.

    Raises:
        ValueError: As `config`, or if a tensor is missing, too many, or of another shape.

    Source:
        llama.cpp, `convert_hf_to_gguf.py`: `LlamaModel.permute`, names in `gguf-py`.
    """
    shape = config(file)
    names = {f"{name}.weight": f"{ours}.weight" for name, ours in WHOLE.items()}
    if shape.tied:
        del names["output.weight"]
    n_tensors = len(names) + len(LAYER) * shape.n_layers
    fits = n_tensors == len(file.tensors)
    check("tensors", len(file.tensors), fits, f"{n_tensors} for {shape.n_layers} layers")
    for layer in range(shape.n_layers):
        for name, ours in LAYER.items():
            names[f"blk.{layer}.{name}.weight"] = f"blocks.{layer}.{ours}.weight"
    with torch.device("meta"):  # no memory, no random draws: all weights come from the file
        model = GPT(shape)
    wanted = dict(model.named_parameters())
    for name, ours in names.items():
        found = file.tensors[name].shape if name in file.tensors else None
        check(
            f"shape of {name}", found, found == wanted[ours].shape, f"{tuple(wanted[ours].shape)}"
        )
    weights = {ours: file.tensors[name].decode() for name, ours in names.items()}
    for layer in range(shape.n_layers):
        for part, n_heads in [("query", shape.n_heads), ("key", shape.n_kv_heads or shape.n_heads)]:
            ours = f"blocks.{layer}.attention.{part}.weight"
            weights[ours] = interleaved_to_halves(weights[ours], n_heads=n_heads, dim=0)
    model.load_state_dict(weights, strict=not shape.tied, assign=True)
    if shape.tied:
        model.head.weight = model.tokens.weight
    return model
