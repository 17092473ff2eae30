"""Hugging Face transformers: the masks of `masking_utils` (Mistral's), and its SDPA function."""

from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask, sliding_window_causal_mask_function

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


class Layer:
    training = False

    def __init__(self, num_key_value_groups):
        self.num_key_value_groups = num_key_value_groups


def window_mask(query_time, key_time, window, *, device="cpu"):
    return sdpa_mask(
        1, query_time, key_time, q_offset=key_time - query_time, allow_is_causal_skip=False,
        mask_function=sliding_window_causal_mask_function(window), device=device,
    )[0, 0]  # fmt: skip


def attend(queries, keys, values, *, window=None, bias=None, dropout=0.0):
    if queries.ndim == 3:
        text = queries[None], keys[None], values[None]
        return attend(*text, window=window, bias=bias, dropout=dropout)[0]
    times = queries.shape[-2], keys.shape[-2]
    mixes, _ = sdpa_attention_forward(
        Layer(queries.shape[-3] // keys.shape[-3]), queries, keys, values,
        window_mask(*times, window or times[1], device=queries.device)[None, None],
        dropout=dropout, position_bias=None if bias is None else bias[None],
    )  # fmt: skip
    return mixes.transpose(1, 2)
