"""What can be said on the command line, with the demo's defaults; imports nothing that is slow."""

from dataclasses import dataclass
from typing import Any, Literal

# What `--recipe gpt2` changes: the kinds of GPT-2, and the optimizer and rates that suit them.
GPT2: dict[str, Any] = {
    "positions": "learned",
    "norm": "layer",
    "feed_forward": "gelu",
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "floor": 1e-4,
}


@dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """The shape of the model.

    Args:
        vocab_size: Tokens of the vocabulary; may come out smaller if the text is small.
        context_length: Tokens that the model can read at once.
        d_model: Width of the model, a multiple of the number of heads.
        n_layers: Number of blocks.
        n_heads: Heads in each attention.
        d_ff: Width inside each feed-forward; by default 4 times the model's (8/3 with swiglu).
        dropout: Share of activations that training sets to zero.
        bias: Whether projections and layer norms add a constant.
        tied: Whether the head shares the weights of the token embedding.
        positions: How the model learns where tokens are.
        norm: Kind of all norms.
        feed_forward: Kind of all feed-forwards.
        n_kv_heads: Heads of keys and values in each attention; by default as many as heads.
        window: Positions that a token reads in each attention; by default its whole past.
        theta: Base of the wavelengths of rotary positions.
        norm_eps: Added under the root in all norms.
    """

    vocab_size: int = 2048
    context_length: int = 128
    d_model: int = 192
    n_layers: int = 4
    n_heads: int = 4
    d_ff: int | None = None
    dropout: float = 0.0
    bias: bool = False
    tied: bool = True
    positions: Literal["learned", "sinusoidal", "relative", "rotary", "alibi", "none"] = "rotary"
    norm: Literal["layer", "rms"] = "rms"
    feed_forward: Literal["gelu", "swiglu"] = "swiglu"
    n_kv_heads: int | None = None
    window: int | None = None
    theta: float = 10_000.0
    norm_eps: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How the model is trained.

    Args:
        steps: How often the weights are moved.
        batch_size: Windows of text that each step reads.
        accumulation: Parts that a batch is read in, one after the other, to need less memory.
        optimizer: adamw for all weights, or muon for the blocks' matrices and adamw for the rest.
        learning_rate: The highest learning rate.
        warmup: Steps in which the learning rate climbs to its highest.
        floor: Learning rate that the last steps come close to.
        weight_decay: Pull of the matrices towards zero.
        betas: Share of its two averages that AdamW keeps from step to step.
        max_norm: Length above which a gradient is shortened.
        precision: float32 or bfloat16 for products; auto measures once which is faster here.
        seed: Decides the first weights, the order of the text and what dropout drops.
    """

    steps: int = 1000
    batch_size: int = 16
    accumulation: int = 1
    optimizer: Literal["adamw", "muon"] = "muon"
    learning_rate: float = 0.01
    warmup: int = 40
    floor: float = 0.0
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    max_norm: float = 1.0
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """How each token is chosen.

    Args:
        temperature: Below 1 the text is safer, above 1 wilder; 0 always takes the likeliest token.
        top_k: Choose among so many of the likeliest tokens; by default among all.
        top_p: Choose among the likeliest tokens that together have this probability; 1 keeps all.
        min_p: Drop tokens below this share of the likeliest one's probability; 0 keeps all.
        repetition_penalty: Above 1, tokens that the text holds already become less likely.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
