"""Checks YOLO label files for unusual encodings and separators."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tutelage.data.findings import Finding, Severity, summarise
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.scan import read_labels
from tutelage.errors import DataError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HARMLESS = "They are read all the same; --fix writes plain ones."
_HARMFUL = "Their lines cannot be used as they are; --fix reads and rewrites them."
_KINDS: dict[str, tuple[str, Severity, str]] = {
    "text in UTF-16": ("label-encoding", "error", _HARMFUL),
    "bytes that are no UTF-8": ("label-encoding", "warning", "Save them as UTF-8."),
    "a byte order mark": ("label-encoding", "info", _HARMLESS),
    "commas or semicolons": ("label-separator", "error", _HARMFUL),
    "tabs": ("label-separator", "info", _HARMLESS),
    "Windows line ends": ("label-separator", "info", _HARMLESS),
}


def check_label_encoding(opened: OpenedSplit) -> Iterator[Finding]:
    """Yield label files with another encoding than UTF-8 or other separators than spaces."""
    if opened.listing.format != "YOLO":
        return
    files = opened.listing.label_files
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        features = list(pool.map(_unusual_features, files, chunksize=64))
    for kind, (code, severity, fix) in _KINDS.items():
        cases = [file for file, kinds in zip(files, features, strict=True) if kind in kinds]
        if cases:
            names = map(opened.listing.short, cases)
            yield summarise(code, severity, f"Label files with {kind}", names, len(cases), fix)


def plain_text(content: bytes) -> str:
    """Return a label file as text in YOLO's format: decoded, without commas and semicolons."""
    if content.startswith(_UTF16):
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "replace")
    return "\n".join(map(_plain_line, text.splitlines()))


def _plain_line(line: str) -> str:
    decimal = re.fullmatch(r"\s*\d+(\s+-?\d*,\d+)+\s*", line)  # 0 0,5 0,5 0,1 0,1
    return line.replace(",", ".") if decimal else re.sub(r"[,;]", " ", line)


def _unusual_features(label_file: str) -> tuple[str, ...]:
    try:
        content = read_labels(label_file) or b""
    except DataError:
        return ()
    if content.startswith(_UTF16):
        return ("text in UTF-16",)
    checks = {
        "a byte order mark": content.startswith(codecs.BOM_UTF8),
        "commas or semicolons": b"," in content or b";" in content,
        "tabs": b"\t" in content,
        "Windows line ends": b"\r\n" in content,
    }
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        checks["bytes that are no UTF-8"] = True
    return tuple(kind for kind, present in checks.items() if present)
