"""What both of PyTorch's adapters for attention in windows share."""

from torch.nn.attention import flex_attention as flex

flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True  # compiling takes seconds for each shape


def reads(query_time, key_time, window):
    first = key_time - query_time  # queries are the last positions
    window = key_time if window is None else window
    return lambda batch, head, i, j: (j <= first + i) & (j > first + i - window)
