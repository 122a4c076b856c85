"""One `.safetensors` file: checked when read, written atomically.

The file is eight bytes with the length of the header, the header in JSON, then the tensors without gaps. The header is
checked before memory is allocated for what it describes. Every failure is a `CharrnnError` of one line.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from charrnn.errors import CharrnnError

Shape = tuple[int, ...]

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_TYPES = {"F32": "<f4", "U32": "<u4", "I32": "<i4", "U16": "<u2", "U8": "<u1"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
_MAX_DIMENSIONS = 8
_MAX_DEPTH = 100  # of JSON: code that reads it later may be recursive


@dataclass(frozen=True)
class Header:
    """The metadata of a file, the shape of each tensor, the types of those not float32, and the file's bytes."""

    metadata: dict[str, str]
    shapes: dict[str, Shape]
    file_size: int
    types: dict[str, np.dtype[Any]]


def canonical_json(value: Any) -> str:
    """JSON, the same text for equal values: sorted keys, no spaces, no unnecessary escapes.

    Raises `ValueError` for numbers that are not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def strict_json(text: str | bytes) -> Any:
    """Parse JSON. Raises `ValueError` if it is invalid, repeats a key, has NaN or infinity or is nested too deeply."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        inside = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = list(itertools.chain.from_iterable(inside))
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:40]!r} is there twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON has")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def read_header(path: Path) -> Header:
    """Read and check the header of the file at `path`: the tensors fill the file without gaps.

    Raises:
        CharrnnError: the file is missing, cannot be read, is truncated or damaged.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CharrnnError(f"{path} is not a regular file; a checkpoint is a .safetensors file on disk")
            size = status.st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > MAX_HEADER_BYTES:
                raise CharrnnError(f"{path} is not a .safetensors file, as all checkpoints are; check the name")
            if length > size - 8:
                raise CharrnnError(
                    f"{path} is truncated: its header has {length} bytes and the file ends after {max(0, size - 8)}"
                )
            raw = file.read(length)
    except FileNotFoundError:
        raise CharrnnError(f"there is no checkpoint {path}; check the name") from None
    except IsADirectoryError:
        raise CharrnnError(f"{path} is a directory; a checkpoint is a .safetensors file") from None
    except OSError as error:
        raise CharrnnError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    if not raw.startswith(b"{"):
        raise CharrnnError(f"{path} is not a .safetensors file, as all checkpoints are; check the name")
    try:
        entries = strict_json(raw.decode("utf-8"))
    except ValueError as error:
        raise CharrnnError(f"{path} is damaged: its header is not valid JSON ({error})") from error
    try:
        return _check_entries(entries, size, size - 8 - length)
    except ValueError as error:
        raise CharrnnError(f"{path} is {error}") from error


def _open_without_waiting(path: str, flags: int) -> int:
    # A named pipe that nobody writes to would block here for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_entries(entries: dict[str, Any], size: int, available: int) -> Header:
    """Check the header's JSON against the `available` bytes after it. Raises `ValueError`, which names the defect."""
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("damaged: its metadata is not a table of texts")
    shapes: dict[str, Shape] = {}
    types: dict[str, np.dtype[Any]] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        shown = repr(name[:80])
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"damaged: the header's entry for {shown} is not a dtype, a shape and two offsets")
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in _TYPES:
            raise ValueError(
                f"damaged: the tensor {shown} has the dtype {str(entry['dtype'])[:20]!r}; it must be one of "
                f"{', '.join(_TYPES)}"
            )
        dtype = np.dtype(_TYPES[entry["dtype"]])
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS or not _are_sizes(offsets) or len(offsets) != 2:
            raise ValueError(f"damaged: the shape or the offsets of the tensor {shown} are not whole numbers")
        begin, end = offsets
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"damaged: the tensor {shown} has {end - begin} bytes, which its shape {shape} does not")
        shapes[name] = tuple(shape)
        if dtype != np.float32:
            types[name] = dtype
        spans.append((begin, end, shown))
    position = 0
    for begin, end, shown in sorted(spans):
        if begin != position:
            raise ValueError(f"damaged: the tensor {shown} begins at byte {begin} and not where the one before it ends")
        position = end
    if position > available:
        raise ValueError(f"truncated: {position} bytes of tensors are announced and {available} are there")
    if position < available:
        raise ValueError(f"damaged: {available - position} bytes follow its last tensor")
    return Header(metadata, shapes, size, types)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named tensors of a file whose header has been checked. Raises `CharrnnError`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise CharrnnError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CharrnnError(f"{path} is damaged: {error}") from error


def check_writable(path: Path) -> None:
    """Raise `CharrnnError` unless `write` could write to `path`, so that this is known before hours of training.

    Removes the temporary file of a process that was killed while it wrote there.
    """
    temporary = _temporary_beside(path)
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise CharrnnError(f"cannot write {path}: {error.strerror or error}") from error


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write `tensors` and `metadata` to `path` atomically; creates its folders. One process at a time.

    The bytes are those that the package safetensors writes. That package uses a temporary file with a random name,
    which remains if the process is killed; here it has always the same name, and the next write replaces it.

    Raises:
        CharrnnError: the file cannot be written. On any failure or interruption, the file at `path` is unchanged.
        TypeError: a tensor has a type that no checkpoint has.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise TypeError(f"the tensor {name} is {tensor.dtype}; it must be one of {', '.join(map(str, _NAMES))}")
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    temporary = _temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(_header(tensors, metadata))
            for name in sorted(tensors):
                file.write(np.ascontiguousarray(tensors[name], tensors[name].dtype.newbyteorder("<")).data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        _remove(temporary)
        kept = "; the file that was there is unchanged" if target.exists() else ""
        raise CharrnnError(f"cannot write {path}: {error.strerror or error}{kept}") from error
    except BaseException:
        _remove(temporary)
        raise
    try:
        _sync(target.parent)
    except OSError as error:
        raise CharrnnError(f"{path} is written, but may not outlive a power cut: {error.strerror or error}") from error


def _header(tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The header: length and JSON, padded to a multiple of eight bytes. The tensors follow, sorted by name."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for name in sorted(tensors):
        shape, size = tensors[name].shape, tensors[name].nbytes
        entries[name] = {
            "dtype": _NAMES[tensors[name].dtype],
            "shape": shape,
            "data_offsets": (position, position + size),
        }
        position += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _temporary_beside(path: Path) -> Path:
    """The path of the temporary file for `path`; creates its folder. Raises `CharrnnError` if `path` is not a file."""
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raise CharrnnError(f"cannot write {path}: it is there and is not a regular file; choose another name")
    except OSError as error:
        raise CharrnnError(f"cannot write {path}: {error.strerror or error}") from error
    return target.with_name(f".{target.name}.tmp")


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # the caller raises the error that came before
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Wait until the entries of `folder` are on disk, if the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without this operation
            raise
    finally:
        os.close(descriptor)
