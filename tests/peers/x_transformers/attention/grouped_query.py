"""x-transformers' `Attention` with `flash`, that is through PyTorch's kernel."""

from torch.func import functional_call

from peers.fitting import Projections, in_one_batch
from peers.x_transformers._quiet import library

DEVIATIONS = {
    "groups-share-keys-and-values": (
        "query heads of x-transformers 2.31.10 take the key heads in turn (head h reads h "
        "modulo n_kv_heads), where Llama's stand in groups",
        5.0,
    ),
    "equals-llama": (
        "query heads of x-transformers 2.31.10 take the key heads in turn (head h reads h "
        "modulo n_kv_heads), where Llama's stand in groups",
        5.0,
    ),
    "a-group-keeps-to-itself": (
        "query heads of x-transformers 2.31.10 take the key heads in turn (head h reads h "
        "modulo n_kv_heads), where Llama's stand in groups",
        10.0,
    ),
    "gradients-equal-the-formula": (
        "query heads of x-transformers 2.31.10 take the key heads in turn (head h reads h "
        "modulo n_kv_heads), where Llama's stand in groups",
        2.0,
    ),
    "holds-at-real-sizes": (
        "query heads of x-transformers 2.31.10 take the key heads in turn (head h reads h "
        "modulo n_kv_heads), where Llama's stand in groups",
        2.0,
    ),
    "half-precision-is-close": (
        "query heads of x-transformers 2.31.10 take the key heads in turn (head h reads h "
        "modulo n_kv_heads), where Llama's stand in groups",
        "where rounding explains",
    ),
    "rejects-groups-that-do-not-divide": (
        "x-transformers 2.31.10 raises an AssertionError without a message",
        "failed with AssertionError",
    ),
    "rejects-shape": (
        "x-transformers 2.31.10 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class GroupedQueryAttention(Projections):
    def __init__(self, d_in, d_out, *, n_heads, n_kv_heads, dropout=0.0, bias=False):
        d_head = d_out // n_heads
        peer = library.Attention(
            d_in,
            dim_head=d_head,
            heads=n_heads,
            kv_heads=n_kv_heads,
            dim_out=d_out,
            project_out=True,
            causal=True,
            flash=True,  # without, its softmax is in float32
            dropout=dropout,
        )
        super().__init__(d_in, d_out, d_kv=d_head * n_kv_heads, bias=bias)
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's

    def forward(self, x):
        weights = self.lend(to_q="query", to_k="key", to_v="value", to_out="output")
        peer = self.peer[0].train(self.training)
        return in_one_batch(lambda x: functional_call(peer, weights, (x,)), x)
