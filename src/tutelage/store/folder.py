"""The folder of a store: ``store.json``, which says what its records are, and its shards.

``<root>/<title>-<kind>-<first digits of the hash of its description>/``
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import TeacherError
from tutelage.files import atomic_write_text
from tutelage.sanitise import json_values
from tutelage.store.claims import CLAIMS
from tutelage.store.shard import INDEX, RECORDS

FORMAT = 1
ABOUT, LOCK = "store.json", "store.lock"
_DIGITS = 12


class Store(NamedTuple):
    """A store.

    Attributes:
        path: Its folder.
        description: What its records depend on, by name; JSON values.
        created: Date and time, ISO 8601.
    """

    path: Path
    description: dict[str, Any]
    created: str


def description_hash(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description: an entry without a value counts as absent."""
    entries = {name: value for name, value in json_values(description).items() if value is not None}
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def make_store(root: Path, title: str, kind: str, description: Mapping[str, Any]) -> Store:
    """Make the store of a description, or open it if there is one; safe in several processes.

    Args:
        root: The folder of stores.
        title: Begins the folder's name, e.g. with data and teacher.
        kind: What is stored, the second part of the name.
        description: What the records depend on, by name; JSON values.

    Raises:
        TeacherError: There is one that cannot be opened.
        OSError: There is no room, or no permission to write.
    """
    path = store_path(root, title, kind, description)
    if is_store(path):
        return open_store(path)
    path.mkdir(parents=True, exist_ok=True)
    about = {
        "format": FORMAT,
        "tutelage": _version(),
        "hash": description_hash(description),
        "description": json_values(description),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    atomic_write_text(path / ABOUT, json.dumps(about, indent=1) + "\n")
    return open_store(path)


def store_path(root: Path, title: str, kind: str, description: Mapping[str, Any]) -> Path:
    """Return where the store of a description is, or would be; see :func:`make_store`."""
    ending = f"-{kind}-{description_hash(description)[:_DIGITS]}"
    for path in sorted(root.glob(f"*{ending}")):  # its title may be another
        if is_store(path):
            return path
    return root / (re.sub(r"[^\w.@-]+", "-", title) + ending)


def _version() -> str:
    try:
        return version("tutelage")
    except PackageNotFoundError:
        return "not installed"


def is_store(path: Path) -> bool:
    """Whether a folder says that it is a store, be it damaged or of a later version."""
    return (path / ABOUT).is_file()


def open_store(path: Path) -> Store:
    """Read what a store is.

    Raises:
        TeacherError: There is no such folder, it is no store, of a later version, or damaged.
    """
    if not path.exists():
        raise TeacherError(
            f"There is no store {path}.",
            fix=f"Those that there are:  tutelage store list {path.parent}",
            code="T40",
        )
    if not is_store(path):
        raise TeacherError(
            f"{path} is not a store of teaching: it has no {ABOUT}.",
            fix=f"The stores in a folder:  tutelage store list {path}" if path.is_dir() else "",
            code="T41",
        )
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        if isinstance(about, dict) and isinstance(about.get("format"), int):
            _require_known(path, about)
        store = Store(path, dict(about["description"]), str(about["created"]))
        intact = about["hash"] == description_hash(store.description)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not intact:
        raise _damaged(path, "its description does not have the hash that it states")
    return store


def _require_known(path: Path, about: Mapping[str, Any]) -> None:
    if about["format"] > FORMAT:
        raise TeacherError(
            f"{path} was written by a later version of tutelage, {about.get('tutelage')} (its "
            f"format is {about['format']}, this version knows {FORMAT}).",
            fix="pip install -U tutelage",
            code="T42",
        )


def _damaged(path: Path, why: str) -> TeacherError:
    return TeacherError(
        f"{path / ABOUT} is damaged: {why}.",
        fix=f"Without it nobody knows what the records are. Remove the store:  "
        f"tutelage store remove {path}",
        code="T43",
    )


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Keep a store from being removed while this process writes to it, or until it dies.

    Does nothing where files cannot be locked, or where the folder cannot be written.

    Raises:
        TeacherError: It is being removed.
    """
    with _locked(path, exclusive=False):
        yield


def remove_store(path: Path) -> list[str]:
    """Remove a store; one of which a process that is killed removes a part is still a store.

    Args:
        path: Its folder, or a link to it.

    Returns:
        The names in the folder that are not of a store; they stay, and with them the folder.

    Raises:
        TeacherError: It is no store, of a later version, or another process writes to it.
        OSError: A file cannot be removed.
    """
    try:
        open_store(path)
    except TeacherError as error:
        shards = any(path.glob(f"*{INDEX}")) if error.code == "T43" else False
        if not shards:  # a damaged store.json may be that of another program
            raise
    folder = path.resolve()
    with _locked(folder, exclusive=True):
        ours = [p for p in folder.iterdir() if p.suffix in (RECORDS, INDEX, ".json", ".tmp")]
        for file in (
            *(p for p in ours if p.name != ABOUT),
            folder / ABOUT,
            folder / CLAIMS,
            folder / LOCK,
        ):
            file.unlink(missing_ok=True)
    left = sorted(p.name for p in folder.iterdir())
    if not left:
        folder.rmdir()
        if path.is_symlink():
            path.unlink()
    return left


@contextmanager
def _locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:  # told by what is written or removed next
        yield
        return
    try:
        wanted = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, wanted | fcntl.LOCK_NB)
            except BlockingIOError as error:
                what = "writing to" if exclusive else "removing"
                raise TeacherError(
                    f"Another process is {what} the store {path}.",
                    fix="Wait for it, or stop it first.",
                    code="T44",
                ) from error
        yield
    finally:
        os.close(handle)


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk on which a path is, or would be.

    Raises:
        OSError: The disk cannot be asked.
    """
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
