"""Hugging Face transformers: its SDPA function, with the masks of `masking_utils`."""

from transformers.integrations.sdpa_attention import sdpa_attention_forward

from peers.transformers._masks import Layer, window_mask

DEVIATIONS = {
    "last-queries-are-last-rows": (
        "transformers 5.23 reshapes what was read by a size that no queries leave open",
        "cannot reshape tensor of 0 elements",
    ),
    "rejects-more-queries-than-keys": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def attend(queries, keys, values, *, window=None, score_bias=None, dropout=0.0):
    if queries.ndim == 3:
        more = {"window": window, "score_bias": score_bias, "dropout": dropout}
        return attend(queries[None], keys[None], values[None], **more)[0]
    times = queries.shape[-2], keys.shape[-2]
    mixes, _ = sdpa_attention_forward(
        Layer(queries.shape[-3] // keys.shape[-3]), queries, keys, values,
        window_mask(*times, window, device=queries.device)[None, None],
        dropout=dropout, position_bias=None if score_bias is None else score_bias[None],
    )  # fmt: skip
    return mixes.transpose(1, 2)
