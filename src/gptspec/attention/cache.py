"""Cache: keys and values of the past are kept, so that only new tokens are computed."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gptspec.attention.grouped_query import GroupedQueryAttention
from gptspec.attention.multihead import merge_heads
from gptspec.attention.sliding_window import attend


class Cache:
    """The keys and values that one layer has made of a text so far.

    `time` is the number of tokens read, and with it the position of the next one; `len` is the
    number of positions kept. No gradient flows into what is kept.

    Args:
        window: How many positions a token reads, itself included; None for the whole past.
            What no later token can read is forgotten.

    Raises:
        ValueError: If `window` is below 1.

    Examples:
        >>> cache = Cache(window=3)
        >>> keys, values = cache.append(torch.zeros(1, 5, 2), torch.zeros(1, 5, 2))
        >>> keys.shape, cache.time, len(cache)  # the next token reads itself and two of these
        (torch.Size([1, 5, 2]), 5, 2)
        >>> keys, values = cache.append(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
        >>> keys.shape, cache.time, len(cache)
        (torch.Size([1, 3, 2]), 6, 2)
    """

    def __init__(self, window: int | None = None) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self.window = window
        self.time = 0
        self._rows: Tensor | None = None  # keys and values, with room for more
        self._first = self._end = 0  # of the rows that are kept

    def __len__(self) -> int:
        return self._end - self._first

    def append(
        self,
        keys: Float[Tensor, "*batch kv_heads time d_head"],
        values: Float[Tensor, "*batch kv_heads time d_head"],
    ) -> tuple[
        Float[Tensor, "*batch kv_heads key_time d_head"],
        Float[Tensor, "*batch kv_heads key_time d_head"],
    ]:
        """Keep the keys and values of new tokens, and return them behind all that was kept.

        Raises:
            ValueError: If they are of other texts: of another batch, number of heads, or width.
        """
        new = torch.stack([keys, values]).detach()
        if self._rows is None:
            self._rows = new[..., :0, :]
        elif self._shape_of_a_row(new) != self._shape_of_a_row(self._rows):
            raise ValueError(
                f"keys have shape {tuple(keys.shape)}, which does not continue a cache of "
                f"{tuple(self._rows.shape[1:-2])} texts and heads of width {self._rows.shape[-1]}; "
                "begin each text with a new cache"
            )
        end = self._end + new.shape[-2]
        if end > self._rows.shape[-2]:
            self._rows = self._with_room(self._rows[..., self._first : self._end, :], new)
            self._first, self._end = 0, len(self)
            end = self._end + new.shape[-2]
        self._rows[..., self._end : end, :] = new
        read = self._rows[..., self._first : end, :]
        self.time += new.shape[-2]
        self._end = end
        if self.window is not None:
            self._first = max(self._first, end - (self.window - 1))
        return read[0], read[1]

    @staticmethod
    def _shape_of_a_row(rows: Tensor) -> tuple[int, ...]:
        return (*rows.shape[:-2], rows.shape[-1])

    @staticmethod
    def _with_room(kept: Tensor, new: Tensor) -> Tensor:
        """Return a copy of `kept` with room for `new` and as much again.

        So each row is copied about once, however many are appended one by one.
        """
        room = 2 * (kept.shape[-2] + new.shape[-2])
        rows = kept.new_empty(*kept.shape[:-2], room, kept.shape[-1])
        rows[..., : kept.shape[-2], :] = kept
        return rows


class CachedAttention(GroupedQueryAttention):
    """Grouped-query attention as a GPT uses it: with a window, positions and a cache if wanted.

    Args:
        d_in: As in `GroupedQueryAttention`, and so are all but the last.
        d_out: Width of the vectors that are returned.
        n_heads: How many heads ask.
        n_kv_heads: How many heads answer.
        dropout: Share of the weights set to zero in training.
        bias: Whether the four projections add a constant.
        window: How many positions a token reads, itself included; None for the whole past.

    Raises:
        ValueError: As `GroupedQueryAttention` does, or if `window` is below 1.

    Examples:
        Three tokens at once, or two and then one: the last reads the same.

        >>> attend = CachedAttention(4, 4, n_heads=2, n_kv_heads=1)
        >>> x = torch.tensor([[1.0, 2.0, 0.0, 4.0], [3.0, 1.0, 1.0, 2.0], [0.0, 2.0, 5.0, 1.0]])
        >>> cache = attend.new_cache()
        >>> chunks = [attend(x[:2], cache=cache), attend(x[2:], cache=cache)]
        >>> torch.allclose(torch.cat(chunks), attend(x))
        True
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        n_heads: int,
        n_kv_heads: int,
        dropout: float = 0.0,
        bias: bool = False,
        window: int | None = None,
    ) -> None:
        super().__init__(
            d_in, d_out, n_heads=n_heads, n_kv_heads=n_kv_heads, dropout=dropout, bias=bias
        )
        self.window = Cache(window).window  # refuses an empty one

    def new_cache(self) -> Cache:
        """Return an empty cache for a text, or a batch of texts, that this layer will read."""
        return Cache(self.window)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_in"],
        *,
        rotate: Callable[..., Tensor] | None = None,
        score_bias: Float[Tensor, "heads time key_time"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "*batch time d_out"]:
        """Return for each position what its heads read from it and its past.

        Args:
            x: Vectors of consecutive tokens: a whole text, or those that follow what `cache` holds.
            rotate: Turns queries and keys by their positions, from `start` on.
            score_bias: Added to the scores of these queries with all keys, kept and new.
            cache: What was read before; receives the new keys and values.
        """
        queries, keys, values = self.project(x)
        if rotate is not None:
            start = 0 if cache is None else cache.time
            queries, keys = rotate(queries, start=start), rotate(keys, start=start)
        # A key is kept as its own place turned it: it is never turned again.
        if cache is not None:
            keys, values = cache.append(keys, values)
        # The kernel does not know whether the module is in training.
        dropout = self.dropout if self.training else 0.0
        mixes = attend(queries, keys, values, window=self.window, bias=score_bias, dropout=dropout)
        return self.output(merge_heads(mixes))
