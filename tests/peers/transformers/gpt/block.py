"""Hugging Face transformers: `GPT2Block`."""

from types import SimpleNamespace

from hypothesis import assume
from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from peers.transformers.gpt.feed_forward import remove_biases

KINDS = {"n_kv_heads": None, "window": None, "norm": "layer", "feed_forward": "gelu"}


class Block(GPT2Block):
    def __init__(self, config):
        if any(getattr(config, name) != kind for name, kind in KINDS.items()):
            raise NotImplementedError
        theirs = GPT2Config(
            n_embd=config.d_model, n_head=config.n_heads, n_inner=config.feed_forward_width,
            attn_implementation="sdpa", attn_pdrop=config.dropout, resid_pdrop=config.dropout,
            layer_norm_epsilon=config.norm_eps,
        )  # fmt: skip
        super().__init__(theirs, layer_idx=0)
        if not config.bias:
            remove_biases(self)
        name_parts(self)

    def forward(self, x, **positions):
        if positions:
            raise NotImplementedError
        assume(x.numel())  # the library takes no empty batch
        return super().forward(x if x.ndim == 3 else x[None]).view(x.shape)


def name_parts(block):
    """Give a block's parts our names; GPT-2's matrices are transposed, and three are joined."""
    block.attention_norm, block.feed_forward_norm = block.ln_1, block.ln_2
    query, key, value = linear(block.attn.c_attn, 3)
    (output,) = linear(block.attn.c_proj)
    block.attention = SimpleNamespace(
        query=query, key=key, value=value, output=output, new_cache=new_cache
    )
    (up,), (down,) = linear(block.mlp.c_fc), linear(block.mlp.c_proj)
    block.feed_forward = SimpleNamespace(up=up, down=down)


def linear(conv, n_parts=1):
    weights, biases = conv.weight.data.T.chunk(n_parts), conv.bias.data.chunk(n_parts)
    pairs = zip(weights, biases, strict=True)
    return [SimpleNamespace(weight=weight, bias=bias) for weight, bias in pairs]


def new_cache():
    raise NotImplementedError  # GPT-2 is handed a cache of its model
