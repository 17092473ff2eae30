"""Batches: windows in an order that a seed decides, and nothing else."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gptspec import files
from gptspec.sampling.windows import windows as cut

Batch = tuple[Int[Tensor, "*batch time"], Int[Tensor, "*batch time"]]


class Windows(Dataset[Batch]):
    """The windows of a text as a dataset: inputs and targets, ready for a model.

    Args:
        tokens: The text; it may lie on disk (`load_tokens`) and is never copied as a whole.
        context_length: Tokens a window reads.
        stride: Tokens between the starts of two windows; without it, windows do not overlap.

    Raises:
        ValueError: If the text is too short for one window, or a size is below 1.

    Examples:
        >>> windows = Windows(torch.arange(9), context_length=4)
        >>> len(windows)
        2
        >>> windows[1]
        (tensor([4, 5, 6, 7]), tensor([5, 6, 7, 8]))
    """

    def __init__(
        self, tokens: Int[Tensor, "n_tokens"], context_length: int, stride: int | None = None
    ) -> None:
        stride = context_length if stride is None else stride
        self.inputs, self.targets = cut(tokens, context_length, stride)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int | Int[Tensor, "batch"]) -> Batch:
        """Return one window, or a batch when `index` is a tensor of window numbers."""
        return self.inputs[index].long(), self.targets[index].long()


def order(n_windows: int, *, seed: int, epoch: int) -> Int[Tensor, "n_windows"]:
    """Return the numbers of all windows in the order in which an epoch visits them.

    Raises:
        ValueError: If an argument is negative.

    Examples:
        >>> order(5, seed=1, epoch=0).sort().values
        tensor([0, 1, 2, 3, 4])
    """
    return torch.tensor(_order(n_windows, seed, epoch))


@lru_cache(maxsize=4)
def _order(n_windows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    for name, value in (("n_windows", n_windows), ("seed", seed), ("epoch", epoch)):
        if value < 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    # NumPy mixes the pair, so (0, 1) and (1, 0) differ; and its order is the same on every device.
    return np.random.default_rng((seed, epoch)).permutation(n_windows)


def batch(windows: Windows, step: int, *, batch_size: int, seed: int) -> Batch:
    """Return the batch that training reads at `step`, whatever was read before.

    Steps run on across epochs; the windows that do not fill an epoch's last batch wait
    for another epoch, whose order is another.

    Raises:
        ValueError: If `step` is negative, or `batch_size` below 1 or above the number of windows.

    Examples:
        >>> inputs, targets = batch(Windows(torch.arange(9), 2), 0, batch_size=4, seed=1)
        >>> inputs.shape
        torch.Size([4, 2])
    """
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}")
    if not 1 <= batch_size <= len(windows):
        raise ValueError(
            f"batch_size must be from 1 to the number of windows, {len(windows)}, got {batch_size}"
        )
    epoch, place = divmod(step, len(windows) // batch_size)
    numbers = _order(len(windows), seed, epoch)[place * batch_size : (place + 1) * batch_size]
    return windows[torch.tensor(numbers, device=windows.inputs.device)]


@dataclass(frozen=True)
class _Steps(Dataset[Batch]):
    windows: Windows
    batch_size: int
    seed: int

    def __getitem__(self, step: int) -> Batch:
        return batch(self.windows, step, batch_size=self.batch_size, seed=self.seed)


def loader(
    windows: Windows, *, batch_size: int, seed: int, start: int = 0, workers: int = 0
) -> DataLoader[Batch]:
    """Return the batches from step `start` on, without end, as a torch `DataLoader`.

    Args:
        windows: What to read.
        batch_size: Windows in a batch.
        seed: Decides the order.
        start: The first step: where a stopped training left off.
        workers: Processes that prepare batches ahead; they change nothing but the speed.

    Raises:
        ValueError: As `batch`.

    Examples:
        >>> windows = Windows(torch.arange(9), 2)
        >>> inputs, targets = next(iter(loader(windows, batch_size=2, seed=1, start=7)))
        >>> torch.equal(inputs, batch(windows, 7, batch_size=2, seed=1)[0])
        True
    """
    batch(windows, start, batch_size=batch_size, seed=seed)  # fails here, not in a worker
    return DataLoader(
        _Steps(windows, batch_size, seed),
        batch_size=None,
        sampler=range(start, sys.maxsize),
        num_workers=workers,
        # DataLoader draws a number when it starts: from its own generator, not from dropout's.
        generator=torch.Generator(torch.get_default_device()),
    )


def save_tokens(path: Path, ids: Sequence[int] | Int[Tensor, "n_tokens"]) -> None:
    """Write token ids as a NumPy file of 32-bit integers, whole or not at all.

    Raises:
        ValueError: If `ids` is empty, not one row, or holds anything but integers from 0 to 2^31-1.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokens(Path(folder, "text.tokens"), [5, 0, 7])
        ...     load_tokens(Path(folder, "text.tokens"))
        tensor([5, 0, 7], dtype=torch.int32)
    """
    row = np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids)
    if row.ndim != 1 or not row.size or row.dtype.kind not in "iu":
        raise ValueError(f"ids must be one row of integers, got {row.dtype} of shape {row.shape}")
    if row.min() < 0 or row.max() >= 2**31:
        raise ValueError(f"ids must be from 0 to 2^31-1, got {row.min()} to {row.max()}")
    content = io.BytesIO()
    np.save(content, row.astype("<i4"))
    files.write(path, content.getvalue())


def load_tokens(path: Path) -> Int[Tensor, "n_tokens"]:
    """Return the ids of `save_tokens` as a view of the file: only what is read enters memory.

    Raises:
        ValueError: If the file is missing, cut short, or not written by `save_tokens`.
    """
    try:
        # "c" is copy-on-write: torch may have its writable array, and the file stays as it is.
        row = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"cannot read tokens from {path}: {files.reason(error)}") from error
    if not isinstance(row, np.ndarray) or row.dtype != "<i4" or row.ndim != 1:
        raise ValueError(f"{path} does not hold tokens written by save_tokens")
    return torch.from_numpy(row)
