"""x-transformers' `top_k`, `top_p` and `min_p`."""

from peers.x_transformers._quiet import wrapper


def rows(function, logits, setting):
    """Call what wants exactly one axis before the vocabulary with any number of them."""
    flat = logits.reshape(logits.shape[:-1].numel(), logits.shape[-1])
    return function(flat, setting).view(logits.shape)


def top_k(logits, k):
    return rows(lambda logits, k: wrapper.top_k(logits, k=k), logits, k)


def top_p(logits, p):
    return rows(wrapper.top_p, logits, p)


def min_p(logits, p):
    return rows(wrapper.min_p, logits, p)
