"""The container of ``torch.save`` before 1.6: five pickles in a row, then the storages' bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.weights.allowlist import AllowedCall, StorageEntry, admit, shown
from tutelage.weights.archive import Container, described
from tutelage.weights.pickle_parser import MAX_STREAM, DamagedError, PickledName, parse


class OldArchive(Container):
    """A file of that kind; ``_use_new_zipfile_serialization=False`` writes them to this day."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._storages: dict[str, StorageEntry] = {}
        self._places: dict[str, int] = {}

    def content(self) -> Any:
        """As :meth:`Container.content`."""
        stream = bytes(self.mapped[:MAX_STREAM])
        make, end, parts = AllowedCall(len(stream)), 0, []
        for _ in range(5):
            part, end = parse(stream, admit=admit, make=make, persistent=self.storage, start=end)
            parts.append(part)
        _, _, system, content, keys = parts
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise DamagedError("it was written on a big-endian machine")
        if not isinstance(keys, list) or {*map(type, keys)} - {str}:
            raise DamagedError("its list of storages is damaged")
        self._locate(keys, end)
        return content

    def storage(self, identifier: object) -> StorageEntry | PickledName:
        """Read a persistent id: a storage, or a class with its source, which is left out."""
        match identifier:
            case ("module", PickledName() as kind, _, _):
                return kind
            case (*_, None):
                storage = described(identifier, 6)
            case _:
                raise DamagedError("a storage is described in an unknown way")
        if self._storages.setdefault(storage.key, storage) != storage:
            raise DamagedError(f"storage {storage.key} is described in two ways")
        return storage

    def place(self, storage: StorageEntry) -> tuple[int, None]:
        """As :meth:`Container.place`; this format has no checksums."""
        return self._places[storage.key], None

    def _locate(self, keys: list[str], at: int) -> None:
        """Find where each storage lies: its number of elements, then its bytes."""
        for key in keys:
            storage = self._storages.get(key)
            count = int.from_bytes(self.mapped[at : at + 8], "little")
            if storage is None or count != storage.numel:
                raise DamagedError(f"storage {shown(key)} is damaged")
            self._places[key] = at + 8
            at += 8 + storage.numel * storage.dtype.itemsize
            if at > len(self.mapped):
                raise DamagedError("it is truncated: storages are missing at its end")
        if len(self._places) < len(self._storages):
            raise DamagedError("storages are missing")
