"""Reads the zip files of ``torch.save`` as data: one pickle, and one entry per storage."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import WeightsError
from tutelage.weights.allowlist import (
    STORAGES,
    AllowedCall,
    StorageEntry,
    UnreadTensor,
    check_name,
    printable,
)
from tutelage.weights.file_type import human_size
from tutelage.weights.pickle_parser import MAX_STREAM, DamagedError, PickledName, parse

_WEIGHTS = (".pt", ".pth", ".safetensors")
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(ValueError, EOFError, OSError, RuntimeError),
)


class Container(ABC):
    """A file with one pickle and the storages that it names.

    The file is mapped privately (copy on write): tensors are views of it where possible, which is
    twice as fast, and writing to a tensor does not change the file.

    Attributes:
        path: The file.
        mapped: Its bytes.

    Raises:
        DamagedError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shared: dict[str, Tensor] = {}
        try:
            with path.open("rb") as file:
                self.mapped = memoryview(mmap(file.fileno(), 0, access=ACCESS_COPY))
        except (OSError, ValueError) as error:
            raise DamagedError(f"it cannot be read ({error})") from error

    @abstractmethod
    def content(self) -> Any:
        """Return the pickle as a tree of plain values and records.

        Raises:
            DamagedError: ``torch.save`` does not write such files.
            RefusedError: The pickle names something that is not allowed.
        """

    @abstractmethod
    def locate(self, storage: StorageEntry) -> tuple[int, int | None]:
        """Return the offset of a storage in the file, and its CRC-32 if there is one."""

    def tensors(self, layouts: Mapping[str, UnreadTensor]) -> dict[str, Tensor]:
        """Read tensors: contiguous, without shared memory, in the stored precision.

        Raises:
            DamagedError: The file ends early, or a checksum is wrong.
        """
        uses = Counter(layout.storage.key for layout in layouts.values())
        return {
            key: self.tensor(layout, unshared=uses[layout.storage.key] == 1)
            for key, layout in layouts.items()
        }

    def tensor(self, layout: UnreadTensor, *, unshared: bool = False) -> Tensor:
        """Read a tensor; ``unshared``: no other tensor has the same storage."""
        storage, elements = layout.storage, prod(layout.size)
        if not elements:
            return torch.empty(layout.size, dtype=storage.dtype)
        raw = self._shared.get(storage.key)
        if raw is None:
            raw = self._shared[storage.key] = self._raw(storage)
        tensor = raw.view(storage.dtype).as_strided(layout.size, layout.stride, layout.offset)
        if unshared and elements == storage.numel and tensor.is_contiguous():
            return tensor
        return tensor.clone(memory_format=torch.contiguous_format)

    def _raw(self, storage: StorageEntry) -> Tensor:
        """Return the bytes of a storage, aligned for its type."""
        start, checksum = self.locate(storage)
        view = self.mapped[start : start + storage.numel * storage.dtype.itemsize]
        if len(view) < storage.numel * storage.dtype.itemsize:
            raise DamagedError(f"storage {storage.key} ends early")
        if checksum is not None and zlib.crc32(view) != checksum:
            raise DamagedError(f"storage {storage.key} is damaged (bad CRC-32)")
        raw = torch.frombuffer(view, dtype=torch.uint8)
        return raw.clone() if raw.data_ptr() % storage.dtype.itemsize else raw


class Archive(Container):
    """A zip, as written by torch since 1.6."""

    def content(self) -> Any:
        """As :meth:`Container.content`; also raises :class:`WeightsError` for other archives."""
        with _zip_errors(), zipfile.ZipFile(self.path) as file:
            check_entries(file.infolist(), self.path, len(self.mapped))
            self.entries = {entry.filename: entry for entry in file.infolist()}
            pickles = [name for name in self.entries if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise DamagedError(f"it is a zip with {len(pickles)} data.pkl instead of one")
            self.root = pickles[0].removesuffix("data.pkl")
            order = self.entries.get(f"{self.root}byteorder")
            if order and _bytes(file, order, 16).strip() != b"little":
                raise DamagedError("it was written on a big-endian machine")
            stream = _bytes(file, self.entries[pickles[0]], MAX_STREAM)
        make = AllowedCall(len(stream))
        return parse(stream, check_name=check_name, make=make, persistent=self.storage)[0]

    def locate(self, storage: StorageEntry) -> tuple[int, int]:
        """As :meth:`Container.locate`."""
        entry = self.entries[f"{self.root}data/{storage.key}"]
        header = self.mapped[entry.header_offset : entry.header_offset + 30]
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise DamagedError(f"storage {storage.key} is not where the zip says")
        name, extra = struct.unpack("<26xHH", header)
        return entry.header_offset + 30 + name + extra, entry.CRC

    def storage(self, identifier: object) -> StorageEntry:
        """Return the storage of a persistent id after checking it against its zip entry.

        Raises:
            DamagedError: They do not match.
        """
        storage = parse_storage_id(identifier, 5)
        expected = storage.numel * storage.dtype.itemsize
        if storage.numel:
            entry = self.entries.get(f"{self.root}data/{storage.key}")
            if entry is None:
                raise DamagedError(f"storage {storage.key} is missing")
            if entry.file_size != expected:
                raise DamagedError(
                    f"storage {storage.key} has {entry.file_size} bytes instead of {expected}"
                )
        return storage


def check_zip(path: Path) -> None:
    """Check the structure of a zip that ``torch.load`` is to read: no bombs, nothing twice.

    Raises:
        DamagedError: ``torch.save`` did not write it.
        WeightsError: It is another kind of archive.
    """
    with _zip_errors(), zipfile.ZipFile(path) as file:
        check_entries(file.infolist(), path, path.stat().st_size)


def check_entries(entries: Sequence[zipfile.ZipInfo], path: Path, size: int) -> None:
    """Check the directory of a zip of ``size`` bytes; see :func:`check_zip`."""
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") for name in names):
        what = f"{path} is a TorchScript archive: it holds a program instead of a model."
        fix = "Give the checkpoint that it was exported from."
        raise WeightsError(what, fix=fix, code="W22")
    inside = [name for name in names if name.endswith(_WEIGHTS)]
    if inside and not any(name.endswith("/data.pkl") for name in names):
        fix = "Unpack it and give that file."
        raise WeightsError(f"{path} is a zip around {printable(inside[0])}.", fix=fix, code="W10")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DamagedError(f"it has two entries named {printable(twice)}")
    unpacked = sum(entry.file_size for entry in entries)
    if any(
        entry.compress_type != zipfile.ZIP_STORED
        or entry.flag_bits & 1
        or entry.file_size != entry.compress_size
        for entry in entries
    ):
        sizes = f"{human_size(size)} would become {human_size(unpacked)}"
        raise DamagedError(
            f"its entries are compressed or encrypted ({sizes}), which torch never does"
        )
    if unpacked > size:
        raise DamagedError("its entries overlap")


def _bytes(file: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the bytes of an entry; zipfile checks their checksum."""
    if entry.file_size > limit:
        raise DamagedError(f"its {entry.filename.rpartition('/')[2]} is unreasonably large")
    return file.read(entry)


def parse_storage_id(identifier: object, length: int) -> StorageEntry:
    """Parse a persistent id: ``("storage", class, key, location, elements, …)``.

    Raises:
        DamagedError: It has another form.
    """
    match identifier:
        case ("storage", PickledName(path), str(key), _, int(numel), *rest) if (
            path in STORAGES and len(rest) == length - 5
        ):
            if key.isascii() and key.isalnum() and len(key) < 32 and 0 <= numel < 1 << 48:
                return StorageEntry(key, STORAGES[path], numel)
    raise DamagedError("a storage is described in an unknown way")


@contextlib.contextmanager
def _zip_errors() -> Iterator[None]:
    """Turn the exceptions of ``zipfile`` for damaged files into :class:`DamagedError`."""
    try:
        yield
    except DamagedError:
        raise
    except _ZIP_ERRORS as error:
        raise DamagedError(f"its zip structure is damaged ({error})") from error
