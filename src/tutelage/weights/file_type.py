"""Detects the type of a weight file from its first bytes, to explain files that are none."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Literal

from tutelage.errors import WeightsError, nearest

FileType = Literal["zip", "legacy", "safetensors"]

RELEASES = {  # the official pages of weights
    "yolov7": "https://github.com/WongKinYiu/yolov7/releases",
    "yolov5": "https://github.com/ultralytics/yolov5/releases",
    "yolov9": "https://github.com/MultimediaTechLab/YOLO/releases",
    "v9-": "https://github.com/MultimediaTechLab/YOLO/releases",  # its files: v9-s.pt
    "yolox": "https://github.com/Megvii-BaseDetection/YOLOX/releases",
}
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+", re.I)
LISTED = 5  # most files that a message names
_HEAD = 512
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6 begins with this number
_SAFETENSORS_HEADER_LIMIT = 100 << 20


def human_size(count: int) -> str:
    """Return a readable byte count: ``38 KB``, ``74.8 MB``."""
    if count < 1000:
        return f"{count} bytes"
    for unit, size in (("KB", 1e3), ("MB", 1e6)):
        if count / size < 1000:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e9:.3g} GB"


def release_page(name: str) -> str:
    """Return where the official weights of a name are; empty for other names."""
    page = next((url for start, url in RELEASES.items() if name.lower().startswith(start)), "")
    return f"Nothing is downloaded unasked; official weights: {page}" if page else ""


def existing_file(path: str | Path) -> Path:
    """Return ``path`` if it is a file.

    Raises:
        WeightsError: There is no such file; the message suggests similar names in the folder, and
            the page of official weights.
    """
    given, path = str(path), Path(path)
    if path.is_file():
        return path
    what, fix = f"{path} does not exist.", ""
    if _ADDRESS.match(given):
        address = _ADDRESS.sub(r"\1://", given)  # a path has lost a slash
        what = f"{address} is an address, not a file: nothing is downloaded."
        fix = "Download it, then give the file."
    elif path.is_dir():
        what = f"{path} is a folder, not a checkpoint file."
    elif path.exists():
        what = f"{path} is no regular file."
    elif path.is_symlink():
        what = f"{path} is a link to {path.readlink()}, which cannot be reached."
    elif not path.parent.is_dir():
        fix = f"There is no folder {path.parent} either."
    else:
        files = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
        weights = [name for name in files if name.endswith((".pt", ".pth", ".safetensors"))]
        beside = f"Beside it: {', '.join(weights[:LISTED])}" if weights else ""
        fix = nearest(path.name, files) or beside or "Give a run folder or a file."
    page = "" if path.exists() or _ADDRESS.match(given) else release_page(path.name)
    raise WeightsError(what, fix="\n".join(filter(None, (fix, page))), code="W10")


def sniff(path: str | Path) -> FileType:
    """Return the type of a weight file, by its content.

    Returns:
        ``"zip"`` for files of ``torch.save``, ``"legacy"`` for those before torch 1.6, or
        ``"safetensors"``.

    Raises:
        WeightsError: The file is missing, empty, an HTML page, a Git LFS pointer, a bare pickle, a
            tar, or another file that is no checkpoint.
    """
    path = existing_file(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.", code="W10") from error
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    length = int.from_bytes(head[:8], "little")
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if len(head) > 8 and head[8:9] == b"{" and length < _SAFETENSORS_HEADER_LIMIT:
        return "safetensors"
    if head[:1] == b"\x80" and _TORCH_MAGIC in head[:32]:
        return "legacy"
    if not head:
        what, fix, code = "is empty.", "Download it again.", "W10"
    elif text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        what = f"is not a checkpoint: it is an HTML page ({human_size(size)}), "
        what, fix, code = what + "probably a failed download.", "Download it again.", "W10"
    elif head.startswith(b"version https://git-lfs"):
        what, fix, code = "is a Git LFS pointer, not the weights:", "run git lfs pull.", "W10"
    elif head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
        what = "is a bare pickle, not a checkpoint: torch.save did not write it."
        fix = "Load it once with the program that wrote it and torch.save its model."
        code = "W22"
    elif head.startswith((b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!")):
        what, fix, code = "is packed (gzip, 7z or rar).", "Unpack it first.", "W10"
    elif path.suffix == ".onnx":
        what = "is an exported ONNX model: val, predict and bench run it, nothing else."
        fix, code = "Give the checkpoint that it was exported from.", "W22"
    elif head[257:262] == b"ustar":
        what = "is a tar archive; the tars that torch wrote before 2017 are not read."
        fix, code = "If it was packed for a download, unpack it first.", "W22"
    else:
        kind = (
            f"it is text ({text[:40].decode('ascii')!r}…)" if _is_text(text) else "unknown format"
        )
        what = f"is not a checkpoint: {kind}, {human_size(size)}."
        fix, code = (
            "Expected a .safetensors of ours or a published .pt of a YOLO.",
            "W10",
        )
    raise WeightsError(f"{path} {what}", fix=fix, code=code)


def _is_text(head: bytes) -> bool:
    printable = set(string.printable.encode())
    return bool(head) and all(byte in printable for byte in head)
