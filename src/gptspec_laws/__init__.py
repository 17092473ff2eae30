"""The laws of gptspec, for code that lives elsewhere: in a notebook, or in a suite of your own."""

from gptspec_laws.adapt import adapt, gpt2_names, gpt2_sizes, in_batch_axes, only, renamed
from gptspec_laws.elsewhere import book, judge, laws

__all__ = [
    "adapt",
    "book",
    "gpt2_names",
    "gpt2_sizes",
    "in_batch_axes",
    "judge",
    "laws",
    "only",
    "renamed",
]
