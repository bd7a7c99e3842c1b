"""The cache of arrays derived from a data set: ``.npz`` files without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def cache_root() -> Path:
    """Return the folder for derived data: ``$TUTELAGE_CACHE``, else ``~/.cache/tutelage``."""
    folder = os.environ.get("TUTELAGE_CACHE")
    return Path(folder).expanduser() if folder else Path.home() / ".cache" / "tutelage"


def load_arrays(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays stored under ``key``, or None if they are absent, stale or damaged.

    Tries ``path``, then the fallback in the cache root.
    """
    for file in (path, _fallback(path)):
        damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
        with contextlib.suppress(*damaged), np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return {name: stored[name] for name in stored.files if name != "key"}
    return None


def save_arrays(path: Path, key: str, arrays: Mapping[str, NDArray[Any]]) -> Path | None:
    """Store arrays under ``key`` at ``path``, or in the cache root if ``path`` is not writable.

    Returns:
        The file written, or None if neither place can be written.
    """
    for file in (path, _fallback(path)):
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.parent.stat().st_mode & _ANY_WRITE:
                continue  # read-only, even if the superuser could write to it
            _write(file, key, arrays)
            return file
    return None


def _write(path: Path, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, key=np.array(key), **arrays)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _fallback(path: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return cache_root() / "labels" / f"{digest}-{path.name}"
