"""PyTorch: `F.scaled_dot_product_attention` of a text with itself, unscaled."""

from torch.nn import functional as F


def attend(x):
    return F.scaled_dot_product_attention(x, x, x, scale=1.0)


def attention_weights(x):
    # The kernel returns no weights: what it reads from one-hot values are they.
    one_hot = x.new_ones(x.shape[-2]).diag().expand(*x.shape[:-1], -1)
    return F.scaled_dot_product_attention(x, x, one_hot, scale=1.0)
