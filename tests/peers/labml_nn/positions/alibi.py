"""labml's `get_slopes` and `get_alibi_biases`."""

import torch
from labml_nn.transformers import alibi as labml

DEVIATIONS = {
    "linear-in-distance": (
        "the bias of labml-nn 0.5.1 counts keys from the first, a constant more for each query",
        1000.0,
    ),
    "depends-on-distance": (
        "the bias of labml-nn 0.5.1 counts keys from the first, a constant more for each query",
        0.5,
    ),
    "rejects-no-heads": (
        "labml-nn 0.5.1 raises a math domain error",
        "the message does not mention",
    ),
    "rejects-more-queries-than-keys": (
        "labml-nn 0.5.1 knows queries for all keys only",
        "accepted what must be refused",
    ),
}


def slopes(n_heads, **where):
    if where:
        raise NotImplementedError
    return labml.get_slopes(n_heads)


def alibi(n_heads, query_time, key_time, **where):
    if where or key_time > 9999:
        raise NotImplementedError  # it makes a row for every key
    mask = torch.ones(key_time, key_time, dtype=torch.bool).tril()
    return labml.get_alibi_biases(n_heads, mask)[key_time - query_time :].movedim(-1, 0)
