"""Hugging Face transformers: `T5Attention`, its buckets and its bias."""

from torch import nn
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

DEVIATIONS = {
    "starts-without-preference": (
        "transformers 5.23 leaves the draw to the model",
        "Tensor-likes are not close",
    ),
    "rejects-more-queries-than-keys": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-what-has-no-layout": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def bucket(distance, *, n_buckets, max_distance, causal):
    return T5Attention._relative_position_bucket(
        distance, bidirectional=not causal, num_buckets=n_buckets, max_distance=max_distance
    )


class RelativeBias(nn.Module):
    def __init__(self, n_heads, *, n_buckets=32, max_distance=128, causal=True):
        super().__init__()
        config = T5Config(
            d_model=2, d_kv=1, num_heads=n_heads, relative_attention_num_buckets=n_buckets,
            relative_attention_max_distance=max_distance, is_decoder=causal,
        )  # fmt: skip
        layer = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
        self.weight = layer.relative_attention_bias.weight
        self.compute_bias = layer.compute_bias

    def forward(self, query_time, key_time):
        return self.compute_bias(query_time, key_time, past_seen_tokens=key_time - query_time)[0]
