"""Attention: the attention of a GPT, with shared heads, a window, positions and a KV cache."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.attention.cache import Cache
from gptspec.attention.grouped_query import repeat_heads
from gptspec.attention.multihead import merge_heads, split_heads
from gptspec.attention.sliding_window import window_mask
from gptspec.checks import check_at_least, check_dropout, check_multiple
from gptspec.gpt.linear import Linear


def attend(
    queries: Float[Tensor, "*batch heads query_time d_head"],
    keys: Float[Tensor, "*batch kv_heads key_time d_head"],
    values: Float[Tensor, "*batch kv_heads key_time d_head"],
    *,
    window: int | None = None,
    score_bias: Float[Tensor, "*biased query_time key_time"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*batch heads query_time d_head"]:
    """Return what each query reads from the past in its window, through one kernel.

    Args:
        queries: Of the last positions of the text, in heads.
        keys: Of all positions, in as many heads or fewer.
        values: Of all positions.
        window: How many positions a token reads, itself included; None for the whole past.
        score_bias: Added to the scores: for each head, or for each text and one or all heads.
        dropout: Share of the weights that are set to zero.

    Raises:
        ValueError: If `window` is below 1, or there are more queries than keys.

    Examples:
        A query that prefers nothing reads its window evenly.

        >>> import torch
        >>> values = torch.tensor([[[3.0], [5.0], [7.0]]])
        >>> attend(torch.zeros(1, 3, 1), torch.zeros(1, 3, 1), values, window=2).squeeze(0)
        tensor([[3.],
                [4.],
                [6.]])
    """
    query_time, key_time = queries.shape[-2], keys.shape[-2]
    grouped = queries.shape[-3] != keys.shape[-3]
    whole_past = score_bias is None and (window is None or window >= key_time)
    mask, is_causal = None, False
    if whole_past and query_time == key_time:
        is_causal = True  # the kernel hides the future itself, and need not look at the half
    elif whole_past and query_time == 1 <= key_time:
        pass  # the last position has no future to hide
    else:
        mask = window_mask(query_time, key_time, window, device=queries.device)
    if mask is not None and score_bias is not None:
        mask = score_bias.masked_fill(~mask, -math.inf)
        # As many axes as the queries have: the kernel is several times slower with fewer.
        mask = mask.expand(*queries.shape[: queries.ndim - mask.ndim], *mask.shape)
    if grouped and not queries.is_cuda:  # only a GPU's kernel reads shared heads in place
        n_repeats = queries.shape[-3] // keys.shape[-3]
        alike = mask is None or mask.ndim == 2 or mask.shape[-3] == 1  # for all heads
        if alike and query_time == 1:  # a group's queries become rows of one head
            rows = torch.unflatten(queries, -3, (-1, n_repeats)).squeeze(-2)
            mixes = F.scaled_dot_product_attention(
                rows, keys, values, attn_mask=mask, dropout_p=dropout
            )
            return mixes.flatten(-3, -2).unsqueeze(-2)
        keys, values = repeat_heads(keys, n_repeats), repeat_heads(values, n_repeats)
        grouped = False
    return F.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=is_causal,
        enable_gqa=grouped,
    )


class Attention(nn.Module):
    """Causal attention with all that a GPT may ask of it.

    Args:
        d_model: Width of the vectors that are read and returned, a multiple of `n_heads`.
        n_heads: How many heads of queries.
        n_kv_heads: How many heads of keys and values, a divisor of `n_heads`; `n_heads` if None.
        window: How many positions a token reads, itself included; None for the whole past.
        dropout: Share of the weights set to zero in training, from 0 up to, not including, 1.
        bias: Whether the four projections add a constant.

    Attributes:
        query: The projection that makes queries, an `nn.Linear`.
        key: The one that makes keys.
        value: The one that makes values.
        output: The one that mixes what the heads have read.

    Raises:
        ValueError: If a size or `window` is below 1, if `n_heads` does not divide `d_model` or
            `n_kv_heads` does not divide `n_heads`, or if `dropout` is outside [0, 1).

    Examples:
        Three tokens at once, or two and then one: the last reads the same.

        >>> import torch
        >>> attention = Attention(4, n_heads=2, n_kv_heads=1)
        >>> x = torch.tensor([[1.0, 2.0, 0.0, 4.0], [3.0, 1.0, 1.0, 2.0], [0.0, 2.0, 5.0, 1.0]])
        >>> cache = attention.new_cache()
        >>> chunks = [attention(x[:2], cache=cache), attention(x[2:], cache=cache)]
        >>> torch.allclose(torch.cat(chunks), attention(x), atol=1e-6)
        True

    Source:
        Radford et al. 2019; shared heads: Ainslie et al. 2023; the window: Jiang et al. 2023.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int,
        n_kv_heads: int | None = None,
        window: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        check_at_least(1, d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads)
        check_multiple(d_model=d_model, n_heads=n_heads)
        check_multiple(n_heads=n_heads, n_kv_heads=n_kv_heads)
        if window is not None:
            check_at_least(1, window=window)
        check_dropout(dropout)
        self.n_heads = n_heads
        self.n_kv_heads = n_kv_heads
        self.window = window
        self.dropout = dropout
        d_kv = d_model // n_heads * n_kv_heads
        self.query = Linear(d_model, d_model, bias=bias)
        self.key = Linear(d_model, d_kv, bias=bias)
        self.value = Linear(d_model, d_kv, bias=bias)
        self.output = Linear(d_model, d_model, bias=bias)

    def new_cache(self) -> Cache:
        """Return an empty cache for a text, or a batch of texts, that this layer will read."""
        return Cache(self.window)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_model"],
        *,
        rotate: Callable[..., Tensor] | None = None,
        score_bias: Float[Tensor, "*biased time key_time"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "*batch time d_model"]:
        """Return for each position what its heads read from it and its past.

        Args:
            x: Vectors of consecutive tokens: a whole text, or those that follow what `cache` holds.
            rotate: Turns queries and keys by their positions, from `start` on.
            score_bias: Added to the scores of these queries with all keys, kept and new.
            cache: What was read before; receives the new keys and values.
        """
        queries = split_heads(self.query(x), self.n_heads)
        keys = split_heads(self.key(x), self.n_kv_heads)
        values = split_heads(self.value(x), self.n_kv_heads)
        if rotate is not None:
            start = 0 if cache is None else cache.time
            queries, keys = rotate(queries, start=start), rotate(keys, start=start)
        # Keys are cached after their rotation, and never rotated again.
        if cache is not None:
            keys, values = cache.append(keys, values)
        mixes = attend(
            queries,
            keys,
            values,
            window=self.window,
            score_bias=score_bias,
            # The kernel does not know whether the module is in training.
            dropout=self.dropout if self.training else 0.0,
        )
        return self.output(merge_heads(mixes))
