"""What both adapters for attention in windows share."""

from transformers.masking_utils import (
    causal_mask_function,
    sdpa_mask,
    sliding_window_causal_mask_function,
)


class Layer:
    training = False

    def __init__(self, num_key_value_groups):
        self.num_key_value_groups = num_key_value_groups


def window_mask(query_time, key_time, window, *, device="cpu"):
    reads = causal_mask_function
    if window is not None:
        reads = sliding_window_causal_mask_function(window)
    return sdpa_mask(
        1, query_time, key_time, q_offset=key_time - query_time, allow_is_causal_skip=False,
        mask_function=reads, device=device,
    )[0, 0]  # fmt: skip
