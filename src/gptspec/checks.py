"""What arguments may be. Each refusal names the argument, what it must be, and what it was."""

import math
from collections.abc import Iterable


def check(name: str, value: object, holds: bool, wanted: str) -> None:
    """Refuse a value unless a condition holds.

    Args:
        name: The argument.
        value: What was passed.
        holds: Whether it may be so.
        wanted: What it must be, to go on from "must be".

    Raises:
        ValueError: If the condition does not hold.

    Examples:
        >>> check("norm", "batch", "batch" in ("layer", "rms"), "layer or rms")
        Traceback (most recent call last):
        ValueError: norm must be layer or rms, got 'batch'
    """
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_at_least(least: int, **values: int) -> None:
    """Refuse whole numbers that are too small, and what is no whole number.

    Raises:
        ValueError: If one is below `least` or no `int`.

    Examples:
        >>> check_at_least(1, d_in=3, d_out=0)
        Traceback (most recent call last):
        ValueError: d_out must be a whole number of at least 1, got 0
    """
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        check(name, value, whole and value >= least, f"a whole number of at least {least}")


def check_positive(**values: float) -> None:
    """Refuse numbers that are not above 0 and finite.

    Raises:
        ValueError: If one is 0 or below, infinite, or no number.

    Examples:
        >>> check_positive(eps=0.0)
        Traceback (most recent call last):
        ValueError: eps must be above 0 and finite, got 0.0
    """
    for name, value in values.items():
        check(name, value, _number(value) and 0 < value < math.inf, "above 0 and finite")


def check_dropout(dropout: float) -> None:
    """Refuse a share of activations to drop that is no share, or all of them.

    Raises:
        ValueError: If `dropout` is outside [0, 1).

    Examples:
        >>> check_dropout(10.0)
        Traceback (most recent call last):
        ValueError: dropout must be at least 0 and below 1, got 10.0
    """
    check("dropout", dropout, _number(dropout) and 0 <= dropout < 1, "at least 0 and below 1")


def check_multiple(**values: int) -> None:
    """Refuse two sizes of which the second does not divide the first.

    Raises:
        ValueError: If it does not.

    Examples:
        >>> check_multiple(d_out=7, n_heads=2)
        Traceback (most recent call last):
        ValueError: d_out must be a multiple of n_heads, got d_out=7 and n_heads=2
    """
    (whole, size), (part, divisor) = values.items()
    if size % divisor:
        raise ValueError(
            f"{whole} must be a multiple of {part}, got {whole}={size} and {part}={divisor}"
        )


def check_text(**values: object) -> None:
    """Refuse what is no text.

    Raises:
        TypeError: If one is no `str`.

    Examples:
        >>> check_text(text=b"bytes")
        Traceback (most recent call last):
        TypeError: text must be a str, got bytes
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a str, got {type(value).__name__}")


def check_several(**values: object) -> None:
    """Refuse one text where several are due: its characters would pass for texts.

    Raises:
        TypeError: If one is a `str`.

    Examples:
        >>> check_several(texts="the cat")
        Traceback (most recent call last):
        TypeError: texts must be several texts, got a single str: put it in a list
    """
    for name, value in values.items():
        if isinstance(value, str):
            raise TypeError(f"{name} must be several texts, got a single str: put it in a list")


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Return ids as a list, and refuse one that a vocabulary does not have.

    Raises:
        ValueError: If an id is below 0, `vocab_size` or above, or no whole number.

    Examples:
        >>> check_ids([0, -1], 256)
        Traceback (most recent call last):
        ValueError: ids must be whole numbers from 0 to 255, got -1
    """
    ids = list(ids)
    for id in ids:
        if not (hasattr(id, "__index__") and 0 <= id < vocab_size):
            check("ids", id, False, f"whole numbers from 0 to {vocab_size - 1}")
    return ids


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
