"""A split: what a model learns from, and what it is judged by."""

import hashlib
from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from gptspec.checks import check


def split_documents(
    documents: Sequence[str], *, validation: float = 0.1
) -> tuple[list[str], list[str]]:
    """Return the documents to train on and those to validate on.

    A document's own content decides its side: twins stay together, and no document changes
    sides when others come or go.

    Args:
        documents: The texts.
        validation: Expected share of the documents held back, above 0 and below 1.

    Raises:
        ValueError: If `validation` is out of range, or a side would be empty.

    Examples:
        >>> split_documents(["a", "b", "c", "d", "a"], validation=0.5)
        (['a', 'a'], ['b', 'c', 'd'])
    """
    if isinstance(documents, str):
        raise ValueError(f"documents must be a list of texts, got one text: {documents[:20]!r}")
    _check_share(validation)
    train: list[str] = []
    held_back: list[str] = []
    for document in documents:
        digest = hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        (held_back if place < validation else train).append(document)
    if not train or not held_back:
        raise ValueError(
            f"validation={validation} of {len(documents)} documents leaves one side empty: "
            "give more documents, or split their tokens instead"
        )
    return train, held_back


def split_tokens(
    tokens: Int[Tensor, "n_tokens"], *, validation: float = 0.1
) -> tuple[Int[Tensor, "n_train"], Int[Tensor, "n_validation"]]:
    """Return the text's beginning, to train on, and its end, to validate on: views of it.

    Args:
        tokens: The text.
        validation: Share of the tokens held back, above 0 and below 1.

    Raises:
        ValueError: If `validation` is out of range, or a side would be empty.

    Examples:
        >>> import torch
        >>> split_tokens(torch.arange(5), validation=0.4)
        (tensor([0, 1, 2]), tensor([3, 4]))
    """
    _check_share(validation)
    cut_at = len(tokens) - round(len(tokens) * validation)
    if not 0 < cut_at < len(tokens):
        raise ValueError(
            f"validation={validation} of {len(tokens)} tokens leaves one side empty: give more text"
        )
    return tokens[:cut_at], tokens[cut_at:]


def _check_share(validation: float) -> None:
    check("validation", validation, 0 < validation < 1, "above 0 and below 1")
