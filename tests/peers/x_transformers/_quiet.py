"""x-transformers, whose import warns that it still uses `torch.jit.script`."""

import warnings

with warnings.catch_warnings(action="ignore"):
    from x_transformers import autoregressive_wrapper as wrapper
    from x_transformers import x_transformers as library

__all__ = ["library", "wrapper"]
