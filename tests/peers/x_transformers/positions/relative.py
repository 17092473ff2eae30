"""x-transformers' `RelativePositionBias`. Texts of no tokens are not judged."""

from torch import nn

from peers.x_transformers._quiet import library

DEVIATIONS = {
    "starts-without-preference": (
        "x-transformers 2.31.10 starts with normal weights of deviation 1",
        "Tensor-likes are not close",
    ),
    "rejects-more-queries-than-keys": (
        "x-transformers 2.31.10 gives the queries too many positions below 0",
        "failed with AxisSizeError",
    ),
    "rejects-what-has-no-layout": (
        "x-transformers 2.31.10 accepts them",
        "accepted what must be refused",
    ),
}


def bucket(distance, *, n_buckets, max_distance, causal):
    return library.RelativePositionBias._relative_position_bucket(
        distance, causal=causal, num_buckets=n_buckets, max_distance=max_distance
    )


class RelativeBias(nn.Module):
    def __init__(self, n_heads, *, n_buckets=32, max_distance=128, causal=True):
        super().__init__()
        peer = library.RelativePositionBias(1, causal, n_buckets, max_distance, n_heads)
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's
        self.weight = peer.relative_attention_bias.weight

    def forward(self, query_time, key_time):
        if not query_time:
            raise NotImplementedError
        return self.peer[0](query_time, key_time)
