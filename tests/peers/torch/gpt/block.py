"""PyTorch: `nn.TransformerEncoderLayer` with its norms first and a causal mask."""

from functools import partial
from types import SimpleNamespace

from torch import nn
from torch.nn import functional as F

KINDS = {"n_kv_heads": None, "window": None, "norm": "layer", "feed_forward": "gelu"}


class Block(nn.TransformerEncoderLayer):
    def __init__(self, config):
        if any(getattr(config, name) != kind for name, kind in KINDS.items()):
            raise NotImplementedError
        super().__init__(
            config.d_model, config.n_heads, config.feed_forward_width, config.dropout,
            partial(F.gelu, approximate="tanh"), batch_first=True, norm_first=True,
            bias=config.bias, layer_norm_eps=config.norm_eps,
        )  # fmt: skip
        self.attention_norm, self.feed_forward_norm = self.norm1, self.norm2
        self.feed_forward = SimpleNamespace(up=self.linear1, down=self.linear2)
        inner = self.self_attn  # which holds three projections in one tensor
        weights = inner.in_proj_weight.data.chunk(3)
        biases = inner.in_proj_bias.data.chunk(3) if config.bias else [None] * 3
        query, key, value = (
            SimpleNamespace(weight=weight, bias=bias)
            for weight, bias in zip(weights, biases, strict=True)
        )
        self.attention = SimpleNamespace(
            query=query, key=key, value=value, output=inner.out_proj, new_cache=self.new_cache
        )

    def forward(self, x, **positions):
        if positions:
            raise NotImplementedError
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[-2], x.device, x.dtype)
        return super().forward(x, mask, is_causal=True)

    def new_cache(self):
        raise NotImplementedError  # TransformerEncoderLayer keeps nothing
