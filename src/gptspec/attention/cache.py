"""Cache: keys and values of the past are kept, so that only new tokens are computed."""

import torch
from jaxtyping import Float
from torch import Tensor

from gptspec.attention.sliding_window import sliding_window_attention
from gptspec.checks import check_at_least


class Cache:
    """The keys and values that one layer has made of a text so far.

    `time` is the number of tokens read, and with it the position of the next one; `len` is the
    number of positions kept. Gradients flow to the keys and values of the chunk under way, and to
    none of those before.

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
        if window is not None:
            check_at_least(1, window=window)
        self.window = window
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
            self._first = max(self._first, end - (self.window - 1))
        return read[0], read[1]

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
