"""A shard: the two files to which one process appends records.

``<name>.records`` holds the payloads, one after another. ``<name>.index`` holds a header, then a
row of fixed size for each record, written after its payload. Names sort by time of creation.
"""

from __future__ import annotations

import os
import secrets
import struct
import time
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import TeacherError

VERSION = 1
RECORDS, INDEX = ".records", ".index"
BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it

ROW = np.dtype(
    [
        ("view", "<u4"),
        ("image", "<u4"),
        ("offset", "<u8"),  # of the payload in .records
        ("length", "<u4"),  # of the payload
        ("checksum", "<u4"),  # of the payload, CRC-32
        ("row_checksum", "<u4"),  # of the fields above, CRC-32
    ]
)

_HEADER = struct.Struct("<8sI")
_CRC = struct.Struct("<I")
_MAGIC = b"tutelage"
HEADER_BYTES = _HEADER.size + _CRC.size
# The table of CRC-32 by bytes; zlib's value of a single byte has initial and final inversions.
_TABLE = np.array([zlib.crc32(bytes([byte ^ 0xFF])) ^ 0xFF000000 for byte in range(256)], np.uint32)


def new_name() -> str:
    """Return the name of a new shard."""
    return f"{time.time_ns():016x}-{secrets.token_hex(4)}"


def header() -> bytes:
    """Return the header of an index: magic, version, their checksum."""
    head = _HEADER.pack(_MAGIC, VERSION)
    return head + _CRC.pack(zlib.crc32(head))


def row_checksums(rows: NDArray[np.void]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each row without its last field, as ``zlib.crc32`` does, (n,)."""
    columns = rows.view(np.uint8).reshape(len(rows), ROW.itemsize)[:, : -_CRC.size].T
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in columns:
        crc = _TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
    return np.invert(crc)


def read_rows(index: Path, start: int) -> tuple[NDArray[np.void], int, int]:
    """Read the rows of an index from row ``start`` on.

    Rows that are damaged, or whose payload ends beyond ``.records``, are left out. Damaged rows at
    the end may be in the middle of being written: they are read again the next time.

    Args:
        index: The index file.
        start: The first row to read.

    Returns:
        The valid rows, dtype ``ROW``; the row to start with the next time; damaged rows before it.

    Raises:
        TeacherError: A later version of tutelage wrote the file.
        OSError: A file cannot be read.
    """
    nothing = np.zeros(0, ROW), start, 0
    with index.open("rb", buffering=0) as file:
        whole = (os.fstat(file.fileno()).st_size - HEADER_BYTES) // ROW.itemsize
        if whole <= start or not _is_index(file.read(HEADER_BYTES), index):
            return nothing
        file.seek(HEADER_BYTES + start * ROW.itemsize)
        data = file.read((whole - start) * ROW.itemsize)
    rows = np.frombuffer(data[: len(data) // ROW.itemsize * ROW.itemsize], ROW)
    valid = row_checksums(rows) == rows["row_checksum"]
    try:  # after the rows: their payloads are older than they are
        payload_bytes = index.with_suffix(RECORDS).stat().st_size
    except FileNotFoundError:
        payload_bytes = 0
    valid &= rows["offset"] + rows["length"] <= payload_bytes
    good = np.flatnonzero(valid)
    if not len(good):
        return nothing
    end = int(good[-1]) + 1
    return rows[good], start + end, end - len(good)


def _is_index(head: bytes, index: Path) -> bool:
    """Whether a file begins with an intact header of this format."""
    magic, version = _HEADER.unpack_from(head)
    if magic != _MAGIC or _CRC.unpack_from(head, _HEADER.size)[0] != zlib.crc32(head[:-4]):
        return False
    if version > VERSION:
        raise TeacherError(
            f"{index} was written by a later version of tutelage (its format is {version}, "
            f"this version knows {VERSION}).",
            fix="pip install -U tutelage",
            code="T42",
        )
    return True
