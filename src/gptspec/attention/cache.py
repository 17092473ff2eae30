"""Cache: keys and values of the past are kept, so that only new tokens are computed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gptspec.attention.sliding_window import sliding_window_attention
from gptspec.checks import check, check_at_least


class Cache:
    """The keys and values that one layer has made of a text so far.

    `time` is the number of tokens read, and with it the position of the next one; `len` is the
    number of positions kept. Gradients flow to the keys and values of the chunk under way, and to
    none of those before.

    Args:
        window: How many positions a token reads, itself included; None for the whole past.
            What no later token can read is forgotten.
        spare: How many of the last tokens `truncate` can take back from a window; that many more
            positions are kept. Without a window all can be taken back.

    Raises:
        ValueError: If `window` is below 1, or `spare` is negative.

    Examples:
        >>> cache = Cache(window=3)
        >>> keys, values = cache.append(torch.zeros(1, 5, 2), torch.zeros(1, 5, 2))
        >>> keys.shape, cache.time, len(cache)  # the next token reads itself and two of these
        (torch.Size([1, 5, 2]), 5, 2)
        >>> keys, values = cache.append(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
        >>> keys.shape, cache.time, len(cache)
        (torch.Size([1, 3, 2]), 6, 2)
    """

    def __init__(self, window: int | None = None, *, spare: int = 0) -> None:
        if window is not None:
            check_at_least(1, window=window)
        check_at_least(0, spare=spare)
        self.window = window
        self.spare = spare
        self.time = 0
        self._rows: Tensor | None = None  # keys and values, with room for more
        self._first = self._end = 0  # of the rows that are kept

    def __len__(self) -> int:
        return self._end - self._first

    def append(
        self, keys: Float[Tensor, "*batch time d_head"], values: Float[Tensor, "*batch time d_head"]
    ) -> tuple[Float[Tensor, "*batch key_time d_head"], Float[Tensor, "*batch key_time d_head"]]:
        """Keep the keys and values of new tokens, and return them behind all that was kept.

        Where gradients are off, nothing is copied: the two returned are views of the cache's own
        memory, to be read and not to be changed.

        Raises:
            ValueError: If they are of other texts: of another batch, number of heads, or width.
        """
        new = torch.stack([keys, values])
        if self._rows is not None and self._shape_of_a_row(new) != self._shape_of_a_row(self._rows):
            raise ValueError(
                f"keys have shape {tuple(keys.shape)}, which does not continue a cache of "
                f"{tuple(self._rows.shape[1:-2])} texts and heads of width {self._rows.shape[-1]}; "
                "begin each text with a new cache"
            )
        if self._rows is None or self._end + new.shape[-2] > self._rows.shape[-2]:
            self._rows = self._with_room(new)
            self._first, self._end = 0, len(self)
        kept, end = self._rows[..., self._first : self._end, :], self._end + new.shape[-2]
        self._rows[..., self._end : end, :] = new.detach()
        if torch.is_grad_enabled():  # the way back needs the rows as they are now: not a view
            read = torch.cat([kept, new], dim=-2)
        else:
            read = self._rows[..., self._first : end, :]
        self.time += new.shape[-2]
        self._end = end
        if self.window is not None:
            self._first = max(self._first, end - (self.window - 1) - self.spare)
        return read[0], read[1]

    def truncate(self, time: int) -> None:
        """Forget all tokens but the first `time`, as if the others had never been appended.

        Raises:
            ValueError: If there are fewer, or if what these tokens' successor reads is forgotten.

        Examples:
            >>> cache = Cache()
            >>> keys, values = cache.append(torch.zeros(1, 5, 2), torch.zeros(1, 5, 2))
            >>> cache.truncate(3)
            >>> cache.time, len(cache)
            (3, 3)
        """
        left = len(self) - (self.time - time)
        needed = time if self.window is None else min(time, self.window - 1)
        fits = 0 <= time <= self.time and left >= needed
        check("time", time, fits, f"from {self.time - (len(self) - needed)} to {self.time}")
        self._end -= self.time - time
        self.time = time

    def select(self, texts: Sequence[int], longest: int) -> None:
        """Keep only some texts of a batch, by their places, and of them the `longest` last rows."""
        if self._rows is not None:
            first = max(self._first, self._end - longest)
            self._rows = self._rows[:, list(texts), ..., first : self._end, :]
            self._first, self._end = 0, self._end - first

    @classmethod
    def join(cls, caches: Sequence["Cache"]) -> "Cache":
        """Return a cache of all texts of several batches that have the same time.

        They end together; before a text that is shorter than others there are zeros.

        Examples:
            >>> caches = [Cache(), Cache()]
            >>> for cache, time in zip(caches, (2, 1)):
            ...     rows = torch.ones(1, 1, time, 1)
            ...     keys, values = cache.append(rows, rows)
            ...     cache.time = 2
            >>> joined = Cache.join(caches)
            >>> keys, values = joined.append(torch.ones(2, 1, 1, 1), torch.ones(2, 1, 1, 1))
            >>> keys.flatten(1)
            tensor([[1., 1., 1.],
                    [0., 1., 1.]])
        """
        joined = cls(caches[0].window, spare=caches[0].spare)
        longest = max(map(len, caches))
        joined.time, joined._end = caches[0].time, longest
        joined._rows = torch.cat([
            F.pad(each._rows[..., each._first : each._end, :], (0, 0, longest - len(each), 0))
            for each in caches
            if each._rows is not None
        ], dim=1)  # fmt: skip
        return joined

    @staticmethod
    def _shape_of_a_row(rows: Tensor) -> tuple[int, ...]:
        return (*rows.shape[:-2], rows.shape[-1])

    def _with_room(self, new: Tensor) -> Tensor:
        """Return a copy of what is kept, with room for `new` and as much again.

        So each row is copied about once, however many are appended one by one.
        """
        room = 2 * (len(self) + new.shape[-2])
        with torch.inference_mode(False):  # a cache begun in inference mode may go on outside it
            rows = new.new_empty(*new.shape[:-2], room, new.shape[-1])
        if self._rows is not None:
            rows[..., : len(self), :] = self._rows[..., self._first : self._end, :]
        return rows


def cached_attention(
    queries: Float[Tensor, "*batch time d_head"],
    keys: Float[Tensor, "*batch time d_head"],
    values: Float[Tensor, "*batch time d_head"],
    cache: Cache,
) -> Float[Tensor, "*batch time d_head"]:
    """Return what new tokens read from those in the cache and from each other.

    Args:
        queries: Of the new tokens.
        keys: Of the new tokens; they join the cache.
        values: Of the new tokens; they join the cache.
        cache: What was read before, and how many positions a token reads.

    Raises:
        ValueError: If the cache is of other texts.

    Examples:
        Three tokens with the values 3, 5 and 7, and queries without preference: two, then one.

        >>> cache, values = Cache(), torch.tensor([[3.0], [5.0], [7.0]])
        >>> zeros = torch.zeros(3, 1)
        >>> cached_attention(zeros[:2], zeros[:2], values[:2], cache)
        tensor([[3.],
                [4.]])
        >>> cached_attention(zeros[2:], zeros[2:], values[2:], cache)
        tensor([[5.]])
    """
    keys, values = cache.append(keys, values)
    return sliding_window_attention(queries, keys, values, window=cache.window)
