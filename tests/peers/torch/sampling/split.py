"""PyTorch: `random_split`."""

from torch.utils.data import random_split

DEVIATIONS = {
    "tokens-laid-end-to-end": (
        "random_split of PyTorch 2.13 keeps no order",
        "Tensor-likes are not equal",
    ),
    "copies-nothing": (
        "random_split of PyTorch 2.13 selects tokens at random places",
        "Tensor-likes are not equal",
    ),
}


def split_tokens(tokens, *, validation=0.1):
    return tuple(
        tokens[part.indices] for part in random_split(tokens, [1 - validation, validation])
    )
