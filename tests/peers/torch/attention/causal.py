"""PyTorch: `F.scaled_dot_product_attention` with `is_causal`."""

from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "rejects-dropout": (
        "PyTorch 2.13 sees dropout_p only when called",
        "accepted what must be refused",
    ),
    "rejects-widths": (
        "PyTorch 2.13 accepts a width of 0, and only warns",
        "accepted what must be refused",
    ),
}


def causal_weights(queries, keys):
    # The kernel returns no weights: what it reads from one-hot values are they.
    one_hot = keys.new_ones(keys.shape[-2]).diag().expand(*keys.shape[:-1], -1)
    return F.scaled_dot_product_attention(queries, keys, one_hot, is_causal=True)


class CausalAttention(nn.Module):
    def __init__(self, d_in, d_out, *, dropout=0.0, bias=False):
        super().__init__()
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_out, bias=bias)
        self.value = nn.Linear(d_in, d_out, bias=bias)
        self.dropout = dropout

    def forward(self, x):
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(
            self.query(x), self.key(x), self.value(x), dropout_p=dropout, is_causal=True
        )
