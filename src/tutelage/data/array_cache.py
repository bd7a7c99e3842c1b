"""Where derived data is kept, and how arrays are stored: ``.npz`` without pickle, atomically."""

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

Arrays = Mapping[str, NDArray[Any]]


def cache_root() -> Path:
    """Return the folder for derived data: ``$TUTELAGE_CACHE``, else ``~/.cache/tutelage``."""
    given = os.environ.get("TUTELAGE_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "tutelage"


def load_arrays(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """Return what was stored under ``key``, or None if it is absent, stale or damaged.

    Tries ``path``, then its stand-in in the cache root.
    """
    for place in (path, _stand_in(path)):
        broken = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
        with contextlib.suppress(*broken), np.load(place, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return {name: stored[name] for name in stored.files if name != "key"}
    return None


def save_arrays(path: Path, key: str, arrays: Arrays) -> Path | None:
    """Store arrays under ``key`` at ``path``, or in the cache root if that cannot be written.

    The file appears complete or not at all.

    Returns:
        The file written, or None if neither place can be written.
    """
    for place in (path, _stand_in(path)):
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.parent.stat().st_mode & _ANY_WRITE:
                continue  # meant to stay as it is, even if the superuser could write to it
            _write(place, key, arrays)
            return place
    return None


def _write(path: Path, key: str, arrays: Arrays) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, key=np.array(key), **arrays)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _stand_in(path: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return cache_root() / "labels" / f"{digest}-{path.name}"
