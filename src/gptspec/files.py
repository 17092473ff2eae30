"""Files that are whole or absent: written aside, flushed, then renamed into place."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

FORMAT = 1  # raised when an older gptspec could not read what a newer one writes


def write(path: Path, content: bytes) -> None:
    """Write `content` so that a kill or a full disk leaves the old file, or the new one, whole.

    Raises:
        OSError: If the disk is full or the folder cannot be written; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, marked with what it is (`kind`) and the format's version."""
    marked = {"kind": kind, "format": FORMAT, **content}
    write(path, (json.dumps(marked, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Return what `write_json` wrote.

    Raises:
        ValueError: If the file is missing, cut short, of another kind, or from a newer version.
    """
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, perhaps cut short: {error}") from error
    if not isinstance(content, dict) or content.pop("kind", None) != kind:
        raise ValueError(f"{path} is not a {kind} written by gptspec")
    version = content.pop("format", None)
    if not isinstance(version, int) or version > FORMAT:
        raise ValueError(
            f"{path} has format {version}, this gptspec reads up to {FORMAT}: upgrade gptspec"
        )
    return content


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors."""
    write(path, save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return what `write_tensors` wrote.

    Raises:
        ValueError: If the file is missing, cut short or not safetensors.
    """
    try:
        return load(_read(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not safetensors, perhaps cut short: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
