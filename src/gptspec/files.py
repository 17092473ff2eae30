"""Files that are whole or absent: written aside, flushed, then renamed into place."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gptspec.checks import check

MOST_AXES = 64  # of a tensor; torch has few operations for more
FORMAT = 1  # raised when an older gptspec could not read what a newer one writes


def write(path: Path, content: bytes) -> None:
    """Write `content` so that a kill or a full disk leaves the old file, or the new one, whole.

    Folders that are missing are made. Two processes may not write the same file at one time.

    Raises:
        OSError: If the disk is full or the folder cannot be written; the old file is untouched.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder, "new", "a.txt"), b"one")
        ...     Path(folder, "new", "a.txt").read_bytes()
        b'one'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{escape(path.name)}.*.partial"):
            leftover.unlink(missing_ok=True)  # of a process that was killed here
        aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
        try:
            with aside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            with suppress(OSError):  # the next `write` tries again
                aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(f"cannot write {path}: {reason(error)}") from error


def write_json(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, marked with what it is (`kind`) and the format's version.

    Raises:
        ValueError: If `content` holds what JSON cannot, or a key `kind` or `format`.
        OSError: As `write`.
    """
    marks = {"kind": kind, "format": FORMAT}
    free = not marks.keys() & content.keys()
    check("content", [*content], free, "without the keys kind and format")
    try:
        text = json.dumps(marks | dict(content), indent=1, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"content of {path} cannot be JSON: {reason(error)}") from error
    write(path, text + b"\n")


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Return what `write_json` wrote.

    Raises:
        ValueError: If the file is missing, cut short, of another kind, or from a newer version.
    """
    content = parse_json(path)
    if not isinstance(content, dict) or content.pop("kind", None) != kind:
        raise ValueError(f"{path} is not a {kind} written by gptspec")
    version = content.pop("format", None)
    if type(version) is not int or version < 1:
        raise ValueError(f"{path} is not a {kind} written by gptspec: its format is {version!r}")
    if version > FORMAT:
        raise ValueError(
            f"{path} has format {version}, this gptspec reads up to {FORMAT}: upgrade gptspec"
        )
    return content


def parse_json(path: Path) -> Any:
    """Return what is in a JSON file, whoever wrote it.

    Raises:
        ValueError: If the file is missing, cut short, or not JSON.
    """
    text = read(path)
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON, perhaps cut short: {reason(error)}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors.

    Raises:
        OSError: As `write`.
    """
    write(path, save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return what `write_tensors` wrote.

    Raises:
        ValueError: If the file is missing, cut short or not safetensors.
    """
    content = read(path)
    try:
        _check_header(content)
        return load(content)
    except (SafetensorError, ValueError, RecursionError) as error:
        why = reason(error)
        raise ValueError(f"{path} is not safetensors, perhaps cut short: {why}") from error
    except KeyError as error:
        raise ValueError(f"{path} holds tensors of a type unknown here: {error}") from error


def _check_header(content: bytes) -> None:
    """Refuse shapes that the library reads and torch cannot have."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    for name, entry in header.items() if isinstance(header, dict) else ():
        shape = entry.get("shape", []) if isinstance(entry, dict) else []
        axes = len(shape) if isinstance(shape, list) else 0
        check(f"number of axes of {name!r}", axes, axes <= MOST_AXES, f"at most {MOST_AXES}")
        for size in shape if axes else ():
            fits = not isinstance(size, int) or size < 2**63
            check(f"an axis of {name!r}", size, fits, "below 2^63")


def read(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        ValueError: If it is missing, a folder, or not to be read; the message names it and says so.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return what an error says, in words that are not Python's own.

    Examples:
        >>> reason(FileNotFoundError(2, "No such file or directory"))
        'No such file or directory'
    """
    match error:
        case UnicodeDecodeError():
            before = error.object[: error.start].count(b"\n")
            return f"line {before + 1} is not UTF-8"
        case UnicodeEncodeError():
            return "it holds half of a character"
        case RecursionError():
            return "it is nested too deeply"
    return getattr(error, "strerror", None) or " ".join(str(error).split())
