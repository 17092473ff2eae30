"""PyTorch: `F.scaled_dot_product_attention` over projections by `nn.Linear`."""

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "rejects-widths": (
        "PyTorch 2.13 accepts a width of 0, and only warns",
        "accepted what must be refused",
    ),
}


def attention_weights(queries, keys, *, scale=None):
    # The kernel returns no weights: what it reads from one-hot values are they.
    one_hot = keys.new_ones(keys.shape[-2]).diag().expand(*keys.shape[:-1], -1)
    return F.scaled_dot_product_attention(queries, keys, one_hot, scale=scale)


class SelfAttention(nn.Module):
    def __init__(self, d_in, d_out, *, bias=False):
        super().__init__()
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_out, bias=bias)
        self.value = nn.Linear(d_in, d_out, bias=bias)

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
