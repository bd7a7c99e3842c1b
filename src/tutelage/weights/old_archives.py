"""Reads files of ``torch.save`` before 1.6: five pickles, then the bytes of the storages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.weights.allowlist import AllowedCall, StorageEntry, check_name, printable_value
from tutelage.weights.archive import Container, parse_storage_id
from tutelage.weights.pickle_parser import MAX_STREAM, DamagedError, PickledName, parse


class OldArchive(Container):
    """Such a file; ``_use_new_zipfile_serialization=False`` still writes them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._storages: dict[str, StorageEntry] = {}
        self._offsets: dict[str, int] = {}

    def content(self) -> Any:
        """As :meth:`Container.content`."""
        stream = bytes(self.mapped[:MAX_STREAM])
        make, end, parts = AllowedCall(len(stream)), 0, []
        for _ in range(5):
            part, end = parse(
                stream, check_name=check_name, make=make, persistent=self.storage, start=end
            )
            parts.append(part)
        _, _, system, content, keys = parts
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise DamagedError("it was written on a big-endian machine")
        if not isinstance(keys, list) or {*map(type, keys)} - {str}:
            raise DamagedError("its list of storages is damaged")
        self._locate_all(keys, end)
        return content

    def storage(self, identifier: object) -> StorageEntry | PickledName:
        """Parse a persistent id: a storage, or a class with its source, which is dropped."""
        match identifier:
            case ("module", PickledName() as kind, _, _):
                return kind
            case (*_, None):
                storage = parse_storage_id(identifier, 6)
            case _:
                raise DamagedError("a storage is described in an unknown way")
        if self._storages.setdefault(storage.key, storage) != storage:
            raise DamagedError(f"storage {storage.key} is described in two ways")
        return storage

    def locate(self, storage: StorageEntry) -> tuple[int, None]:
        """As :meth:`Container.locate`; this format has no checksums."""
        return self._offsets[storage.key], None

    def _locate_all(self, keys: list[str], at: int) -> None:
        """Record the offset of each storage, after its number of elements."""
        for key in keys:
            storage = self._storages.get(key)
            count = int.from_bytes(self.mapped[at : at + 8], "little")
            if storage is None or count != storage.numel:
                raise DamagedError(f"storage {printable_value(key)} is damaged")
            self._offsets[key] = at + 8
            at += 8 + storage.numel * storage.dtype.itemsize
            if at > len(self.mapped):
                raise DamagedError("it is truncated: storages are missing at its end")
        if len(self._offsets) < len(self._storages):
            raise DamagedError("storages are missing")
