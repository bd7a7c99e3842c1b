"""Tutelage's files: ``best.safetensors`` for use, ``last.pt`` for resuming. Neither holds code.

Files are written atomically: an interrupted run leaves the last good file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode_safetensors
from torch import Tensor

from tutelage.errors import WeightsError
from tutelage.files import atomic_write
from tutelage.sanitise import json_values
from tutelage.weights.archive import check_zip
from tutelage.weights.file_type import existing_file, sniff

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class FileIdentity(TypedDict):
    """Path, size and SHA-256 of a file."""

    path: str
    bytes: int
    sha256: str


def identity(path: str | Path) -> FileIdentity:
    """Return path, size and SHA-256 of a file.

    Raises:
        WeightsError: There is no such file.
    """
    path = existing_file(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest}


def save_best(path: str | Path, state: Mapping[str, Tensor], meta: Mapping[str, object]) -> None:
    """Write tensors and a readable header to a ``.safetensors`` file.

    Args:
        path: Target, replaced in one step.
        state: Tensors by name, of any dtype and device; the dtype is kept.
        meta: Header entries. Each value is stored as a JSON string; NaN and infinity become null.
            Equal tensors and entries give equal bytes.

    Raises:
        TypeError: A header value is no JSON value.
    """
    header = {key: json.dumps(json_values(value), allow_nan=False) for key, value in meta.items()}
    # The format has no strides and no shared memory: every tensor is copied.
    tensors = {
        key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()
    }
    encoded = _with_sorted_metadata(encode_safetensors(tensors, metadata=header))
    atomic_write(path, lambda file: file.writelines(encoded))


def _with_sorted_metadata(encoded: bytes) -> tuple[bytes, memoryview]:
    """Return a ``.safetensors`` file as header and tensors, its metadata in the order of keys.

    The package (0.8) stores them in an order that differs from call to call.
    """
    (length,) = struct.unpack_from("<Q", encoded)
    header = json.loads(encoded[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    return struct.pack("<Q", len(text)) + text, memoryview(encoded)[8 + length :]


def load_best(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a ``.safetensors`` file.

    Returns:
        The tensors by name, on the CPU and in the stored dtype, and the header. A header value that
        is not JSON (another program's file) stays text.

    Raises:
        WeightsError: The file is missing, damaged or of another type.
    """
    with _open_safetensors(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, _header(file)  # noqa: SIM118


def load_outline(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file as :func:`load_best` does, but with tensors on the meta device: no values."""
    with _open_safetensors(path) as file:
        # The file is mapped: a tensor that only moves to the meta device is never read.
        outline = {key: file.get_tensor(key).to("meta") for key in file.keys()}  # noqa: SIM118
        return outline, _header(file)


def load_header(path: str | Path) -> dict[str, Any]:
    """Read only the header of a file; see :func:`load_best`."""
    with _open_safetensors(path) as file:
        return _header(file)


def save_last(path: str | Path, mapping: Mapping[str, object]) -> None:
    """Write tensors and plain values to a file that ``torch.load(weights_only=True)`` reads.

    Mappings become dicts, sequences lists or tuples, parameters tensors; other values are refused,
    so that the file holds no class names.

    Raises:
        TypeError: A value is neither a tensor nor plain; its key path is named.
        OSError: The folder is missing or not writable, or the disk is full.
    """
    values = _plain(mapping, "")
    atomic_write(path, lambda file: _write_last(values, file))


def _write_last(values: object, file: BinaryIO) -> None:
    """Write values; the writer of archives puts an error of its own over that of a full disk."""
    try:
        torch.save(values, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_last(path: str | Path) -> dict[str, Any]:
    """Read a file of :func:`save_last`, tensors on the CPU. No code is run.

    Raises:
        WeightsError: The file is missing, damaged, or holds more than tensors and plain values.
    """
    path = existing_file(path)
    best = path.with_name("best.safetensors")
    instead = (
        f"Start a new run from its weights: --weights {best}"
        if best.exists()
        else f"Start anew; there is no {best.name} beside it either."
    )
    try:
        kind = sniff(path)
    except WeightsError as error:
        raise WeightsError(error.what, where=error.where, fix=instead, code=error.code) from error
    if kind != "zip":
        what = "a .safetensors file" if kind == "safetensors" else "of an old kind"
        raise WeightsError(
            f"{path} is {what}; it holds no training state to resume.", fix=instead, code="W25"
        )
    try:
        check_zip(path)  # torch would unpack zip bombs
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"Refused to read {path}: it holds more than tensors and plain values. "
            "Nothing was executed.",
            fix="Resume needs the last.pt of a run of ours.",
            code="W11",
        ) from error
    except Exception as error:  # the unpickler raises almost anything on a damaged stream
        raise WeightsError(f"{path} is damaged or truncated.", fix=instead, code="W25") from error
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path} holds no training state (a {type(content).__name__}).", code="W25"
        )
    return content


def _plain(value: object, where: str) -> object:
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Tensor):
        return _own_storage(value.detach().as_subclass(Tensor))
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{where or 'the mapping'} has a key of type {type(key).__name__}")
        return {
            key: _plain(item, f"{where}.{key}" if where else str(key))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{where}[{position}]") for position, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(
        f"{where} is a {type(value).__name__}; only tensors and plain values can be saved"
    )


@contextlib.contextmanager
def _open_safetensors(path: str | Path) -> Iterator[Any]:
    path = existing_file(path)
    if sniff(path) != "safetensors":
        raise WeightsError(f"{path} is a torch.save file, not .safetensors.", code="W22")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        what = f"{path} is damaged or truncated ({error})."
        fix = "Copy or download it again."
        raise WeightsError(what, fix=fix, code="W10") from error


def _header(file: Any) -> dict[str, Any]:
    return {key: _decode(value) for key, value in (file.metadata() or {}).items()}


def _own_storage(tensor: Tensor) -> Tensor:
    """Copy a view of a larger storage, which torch.save would write as a whole."""
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def _decode(value: str) -> object:
    try:
        return _without_controls(json.loads(value))
    except (ValueError, RecursionError):
        return _without_controls(value)


def _without_controls(value: Any) -> Any:
    """Replace control characters in nested values, for terminals."""
    match value:
        case str():
            return _CONTROL.sub("?", value)
        case dict():
            return {_without_controls(key): _without_controls(item) for key, item in value.items()}
        case list():
            return [_without_controls(item) for item in value]
        case _:
            return value
