"""Hugging Face transformers: the masks of `masking_utils` (Mistral's), and its SDPA function."""

from transformers.integrations.sdpa_attention import sdpa_attention_forward

from peers.transformers._masks import Layer, window_mask

__all__ = ["sliding_window_attention", "window_mask"]

DEVIATIONS = {
    "rejects-empty-window": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-more-queries-than-keys": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def sliding_window_attention(queries, keys, values, *, window):
    mask = window_mask(queries.shape[-2], keys.shape[-2], window, device=queries.device)
    heads = (x.reshape(1, -1, *x.shape[-2:]) for x in (queries, keys, values))
    mixes, _ = sdpa_attention_forward(Layer(1), *heads, mask[None, None])
    return mixes.transpose(1, 2).reshape(*queries.shape[:-1], values.shape[-1])
