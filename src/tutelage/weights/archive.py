"""The container of ``torch.save``, read as data: one pickle and one zip entry per storage.

Every name in the pickle must be on the list here; those of models become inert records, those of
torch and NumPy are interpreted by our own rules. Tensors are checked against their storage and read
last.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tutelage.weights.inert import DamagedError, Name, Record, RefusedError, is_scalar, parse


class Storage(NamedTuple):
    """An entry that holds the elements of one or more tensors."""

    key: str
    dtype: torch.dtype
    numel: int


class Layout(NamedTuple):
    """A tensor that is not read yet."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_STORAGES: Mapping[str, torch.dtype] = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.storage.UntypedStorage": torch.uint8,
}
_DICTS = frozenset({"collections.OrderedDict", "builtins.dict", "__builtin__.dict"})
_SETS = frozenset({"builtins.set", "__builtin__.set"})
_PATHS = frozenset(
    f"pathlib.{kind}{flavour}Path" for kind in ("", "Pure") for flavour in ("", "Posix", "Windows")
)
_NUMPY_CALLS = frozenset(
    f"numpy.{core}.multiarray.{name}"
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
)
_KNOWN = (
    frozenset(_STORAGES)
    | _DICTS
    | _SETS
    | _PATHS
    | _NUMPY_CALLS
    | {
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        "torch.device",
        "numpy.ndarray",
        "numpy.dtype",
        "_codecs.encode",
    }
)
_INERT_PREFIXES = ("models.", "utils.", "torch.nn.")
_NUMERIC = re.compile(r"b1|[iu][1248]|f[248]")
MAX_DEPTH = 64  # of nested modules or values; the deepest model known has 7
_HUGE = 1 << 48  # far beyond any storage, far below an overflow
_ENTRY = re.compile(r"[A-Za-z0-9_]+")


class Archive:
    """An open ``torch.save`` file.

    Attributes:
        stored: Bytes of all entries together.

    Raises:
        DamagedError: The file is truncated or no zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storages: dict[str, bytearray] = {}
        self.stored = 0
        with _zip_errors():
            self.zip = zipfile.ZipFile(path)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def content(self) -> Any:
        """Return the pickle as a tree of plain values and records.

        Raises:
            DamagedError: The file is not as ``torch.save`` writes it.
            RefusedError: The pickle names something that no model needs.
        """
        entries = self.zip.infolist()
        names = [entry.filename for entry in entries]
        if any(name.endswith("/constants.pkl") for name in names):
            raise DamagedError(
                "it is a TorchScript archive, which holds a program instead of a model"
            )
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise DamagedError(f"it is a zip with {len(pickles)} data.pkl instead of one")
        if any(
            entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries
        ):
            raise DamagedError("its entries are compressed or encrypted, which torch never does")
        self.stored = sum(entry.file_size for entry in entries)
        if self.stored > self.path.stat().st_size:
            raise DamagedError("its entries overlap")
        self.root = pickles[0].removesuffix("data.pkl")
        order = f"{self.root}byteorder"
        if order in names and self.read(order).strip() != b"little":
            raise DamagedError("it was written on a big-endian machine")
        return parse(self.read(pickles[0]), admit=_admit, make=_make, persistent=self.storage)

    def read(self, name: str) -> bytes:
        """Return the bytes of an entry; their checksum is checked."""
        with _zip_errors():
            return self.zip.read(name)

    def storage(self, identifier: object) -> Storage:
        """Check a persistent id against the entry that it names.

        Raises:
            DamagedError: They do not agree.
        """
        match identifier:
            case ("storage", Name(path), str(key), _, int(numel)) if path in _STORAGES:
                pass
            case _:
                raise DamagedError("a storage is described in an unknown way")
        if not _ENTRY.fullmatch(key) or numel < 0:
            raise DamagedError(f"a storage has the key {key[:40]!r} and {numel} elements")
        dtype = _STORAGES[path]
        expected = numel * dtype.itemsize
        if numel:
            try:
                size = self.zip.getinfo(f"{self.root}data/{key}").file_size
            except KeyError as error:
                raise DamagedError(f"storage {key} is missing") from error
            if size != expected:
                raise DamagedError(f"storage {key} has {size} bytes instead of {expected}")
        return Storage(key, dtype, numel)

    def tensor(self, layout: Layout) -> Tensor:
        """Read one tensor: a dense copy, floating types as float32."""
        storage = layout.storage
        if not prod(layout.size):
            dense = torch.empty(layout.size, dtype=storage.dtype)
        else:
            if storage.key not in self.storages:
                raw = self.read(f"{self.root}data/{storage.key}")
                self.storages[storage.key] = bytearray(raw)
            flat = torch.frombuffer(self.storages[storage.key], dtype=storage.dtype)
            dense = flat.as_strided(layout.size, layout.stride, layout.offset)
        dtype = torch.float32 if storage.dtype.is_floating_point else storage.dtype
        return dense.to(dtype, copy=True, memory_format=torch.contiguous_format)


@contextlib.contextmanager
def _zip_errors() -> Iterator[None]:
    """``zipfile`` meets damage with a variety of exceptions."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        struct.error,
        ValueError,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        raise DamagedError(f"its zip structure is damaged ({error})") from error


def _admit(path: str) -> None:
    if path not in _KNOWN and not path.startswith(_INERT_PREFIXES):
        raise RefusedError(printable(path))


def printable(name: str) -> str:
    """Return a name from a file in a form that is safe to show."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:120])


def _make(path: str, args: tuple[Any, ...]) -> Any:
    """The value of a call in the stream, by our own rules for each known name."""
    if path in _DICTS:
        return _dictionary(args)
    if path in _SETS:
        members = args[0] if args else ()
        if not isinstance(members, list | tuple | set) or not all(
            is_scalar(each) for each in members
        ):
            raise DamagedError("a set of something that is no plain value")
        return set(members)
    if path.startswith("torch._utils._rebuild_tensor"):
        return _layout(args)
    if path == "torch._utils._rebuild_parameter":
        if not args or not isinstance(args[0], Layout):
            raise DamagedError("a parameter without a tensor")
        return args[0]
    if path == "numpy.dtype" and not (
        args and isinstance(args[0], str) and _NUMERIC.fullmatch(args[0].lstrip("<=|"))
    ):
        raise RefusedError(f"numpy.dtype({printable(str(args[0]) if args else '')!r})")
    if path == "torch.Size":
        return args[0] if args and isinstance(args[0], tuple | list) else ()
    if path in _PATHS or path == "torch.device":
        separator = ":" if path == "torch.device" else "/"
        return separator.join(str(part) for part in args if isinstance(part, str | int))
    return Record(path, args)


def _dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = args[0] if args else []
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and is_scalar(pair[0]) for pair in pairs
    ):
        raise DamagedError("a dict made of something that is no pairs")
    return {pair[0]: pair[1] for pair in pairs}


def _layout(args: tuple[Any, ...]) -> Layout:
    """Check that a tensor lies within its storage and needs no more elements than it has."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise DamagedError("a tensor without a storage")
    storage, offset, size, stride = args[:4]
    if not (
        isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= 8
    ):
        raise DamagedError("a tensor has no valid shape")
    numbers = (offset, *size, *stride)
    if not all(type(number) is int and 0 <= number < _HUGE for number in numbers):
        raise DamagedError("a tensor has a negative, fractional or huge shape")
    if prod(max(length, 1) for length in size) >= _HUGE:
        raise DamagedError("a tensor has a huge shape")
    elements = prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if elements > storage.numel or (elements and last >= storage.numel) or offset > storage.numel:
        raise DamagedError(f"a tensor of shape {list(size)[:8]} reaches outside its storage")
    return Layout(storage, offset, size, stride)


class Plainer:
    """Turns metadata into Python values, within a budget: a small file can describe a huge tree."""

    def __init__(self, archive: Archive, *, budget: int = 200_000) -> None:
        self.archive, self.left = archive, budget

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """Return scalars, lists and dicts; what has no plain form is left out (None in a list)."""
        self._spend(1)
        if depth > MAX_DEPTH:
            raise DamagedError("values are nested without end")
        if is_scalar(value):
            return value
        if isinstance(value, Layout):
            self._spend(prod(value.size))
            return self.archive.tensor(value).tolist()
        if isinstance(value, dict):
            plain = {key: self(item, depth + 1) for key, item in value.items()}
            return {
                key: item for key, item in plain.items() if item is not None or value[key] is None
            }
        if isinstance(value, list | tuple):
            return [self(item, depth + 1) for item in value]
        if isinstance(value, Record) and value.path.startswith("numpy."):
            return self._numpy(value)
        return None

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise DamagedError("its metadata is unreasonably large")

    def _numpy(self, record: Record) -> Any:
        """The number or nested list of a NumPy scalar or array."""
        if record.path.endswith(".scalar"):
            dtype, data = (*record.args, None, None)[:2]
            values = self._numbers(dtype, data)
            return values[0].item() if values is not None and len(values) == 1 else None
        match record.state:
            case (int(), tuple(shape), dtype, bool(fortran), data) if all(
                type(length) is int and length >= 0 for length in shape
            ):
                values = self._numbers(dtype, data)
                if values is not None and len(values) == prod(shape) and len(shape) <= 8:
                    return values.reshape(shape, order="F" if fortran else "C").tolist()
        return None

    def _numbers(self, dtype: Any, data: Any) -> np.ndarray[tuple[int], Any] | None:
        if isinstance(data, Record) and data.path == "_codecs.encode":
            text, encoding = (*data.args, None, None)[:2]
            if not isinstance(text, str) or encoding != "latin1":
                return None
            self._spend(len(text))
            data = text.encode("latin1", "replace")
        if not (
            isinstance(dtype, Record) and dtype.path == "numpy.dtype" and isinstance(data, bytes)
        ):
            return None
        self._spend(len(data))
        order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
        kind = np.dtype((">" if order == ">" else "<") + dtype.args[0].lstrip("<=|"))
        return np.frombuffer(data, kind) if len(data) % kind.itemsize == 0 else None
