"""The laws of gptspec, for code that lives elsewhere: in a notebook, or in a suite of your own."""

from gptspec_laws.adapt import adapt, in_batch_axes, renamed
from gptspec_laws.elsewhere import book, judge, laws

__all__ = ["adapt", "book", "in_batch_axes", "judge", "laws", "renamed"]
