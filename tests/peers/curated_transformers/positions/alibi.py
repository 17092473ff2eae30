"""curated-transformers' `AttentionLinearBiases`, whose table of all distances has no mask."""

from curated_transformers.layers import AttentionLinearBiases

DEVIATIONS = {
    "rejects-no-heads": (
        "curated-transformers 2.0.1 says it in other words",
        "the message does not mention",
    ),
    "rejects-more-queries-than-keys": (
        "curated-transformers 2.0.1 knows queries for all keys only",
        "accepted what must be refused",
    ),
}


def biases(n_heads):
    return AttentionLinearBiases(n_attention_heads=n_heads, is_causal=False, is_inverted=False)


def slopes(n_heads, **where):
    if where:
        raise NotImplementedError
    return biases(n_heads).slopes.flatten()


def alibi(n_heads, query_time, key_time, **where):
    if where or key_time > 9999:
        raise NotImplementedError  # it makes a row for every key: 40 GB for the largest example
    return biases(n_heads).calculate_biases(key_time)[0, :, key_time - query_time :]
