"""Damaging and poisoning weight files: every change that a fuzz test makes."""

from __future__ import annotations

import io
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.weights.foreign import call, code, global_

HOSTILE = (
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("__builtin__", "open"),
    ("subprocess", "Popen"),
    ("torch.hub", "load"),
    ("torch", "load"),
    ("torch.serialization", "_get_restore_location"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.nn.modules.module", "os.system"),
    ("numpy", "load"),
    ("numpy.core.multiarray", "fromfile"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("shutil", "rmtree"),
    ("pathlib", "Path.unlink"),
)
ADMITTED = (
    ("collections", "OrderedDict"),
    ("builtins", "set"),
    ("models.common", "Conv"),
    ("models.yolo", "Model"),
    ("torch.nn.modules.conv", "Conv2d"),
    ("torch", "FloatStorage"),
    ("torch", "DoubleStorage"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("pathlib", "PosixPath"),
    ("_codecs", "encode"),
)
NUMBERS = (-(1 << 70), -1, 0, 1, 2, 7, 255, 65_536, (1 << 31) - 1, 1 << 40, 1 << 63, 1 << 90)
WORDS = (
    "",
    "nc",
    "anchors",
    "Detect",
    "models",
    "\x1b[31m",
    "\ud800",
    "x" * 5_000,
    "../../etc",
    "0",
)

Mutate = Callable[[bytes, random.Random], bytes]


def flip(whole: bytes, rng: random.Random) -> bytes:
    """Change some bytes, often near the ends where the structure is."""
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        window = rng.choice([len(damaged), 2_000, -2_000])
        start, end = (0, window) if window > 0 else (len(damaged) + window, len(damaged))
        damaged[rng.randrange(max(start, 0), min(end, len(damaged)))] = rng.randrange(256)
    return bytes(damaged)


def cut(whole: bytes, rng: random.Random) -> bytes:
    """Truncate, or cut a piece out."""
    start = rng.randrange(len(whole))
    end = rng.choice([len(whole), min(start + rng.randrange(1, 500), len(whole))])
    return whole[:start] + whole[end:]


def flip_pickle(stream: bytes, rng: random.Random) -> bytes:
    """Change some bytes of the pickle."""
    damaged = bytearray(stream)
    for _ in range(rng.randint(1, 4)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def shuffle_opcodes(stream: bytes, rng: random.Random) -> bytes:
    """Leave out, repeat or exchange opcodes."""
    parts = _opcodes(stream)
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(1, len(parts)), rng.randrange(1, len(parts))
        match rng.randrange(4):
            case 0:
                parts[at] = b""
            case 1:
                parts[at] *= rng.choice([2, 2, 50])
            case 2:
                parts[at], parts[other] = parts[other], parts[at]
            case _:
                parts.insert(at, parts[other])
    return b"".join(parts)


def replace_value(stream: bytes, rng: random.Random) -> bytes:
    """Put another value in the place of a number or a text."""
    parts = _opcodes(stream)
    places = [n for n, part in enumerate(parts) if part[:1] in b"KMJGXN\x88\x89\x8a"]
    for at in rng.sample(places, min(len(places), rng.randint(1, 3))):
        value = rng.choice([*NUMBERS, *WORDS, None, True, float("nan"), float("inf"), (), [], {}])
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
        parts[at] = (
            b"X" + struct.pack("<I", len(raw)) + raw if isinstance(value, str) else code(value)
        )
    return b"".join(parts)


def swap_global(stream: bytes, rng: random.Random) -> bytes:
    """Let a name of the stream be another one."""
    parts = _opcodes(stream)
    places = [n for n, part in enumerate(parts) if part[:1] == b"c"]
    if places:
        parts[rng.choice(places)] = global_(*rng.choice(HOSTILE + ADMITTED))
    return b"".join(parts)


def insert_call(stream: bytes, rng: random.Random, proof: str = "touch proof") -> bytes:
    """Call something in the middle of the stream; its value is dropped or stays."""
    parts = _opcodes(stream)
    gadget = call(*rng.choice(HOSTILE + ADMITTED), proof).code
    parts.insert(rng.randrange(1, len(parts)), gadget + rng.choice([b"0", b"0", b""]))
    return b"".join(parts)


def insert_bomb(stream: bytes, rng: random.Random) -> bytes:
    """Insert something small that unfolds to much."""
    count = rng.choice([30, 1_000, 50_000])
    bombs = (
        b")" + b"\x85" * count,  # a deep tuple
        b"]" * count + b"a" * (count - 1),  # a deep list
        b"]q\xfe" + b"0](h\xfeh\xfeeq\xfe" * min(count, 60),  # doubled lists
        b"]q\xfeh\xfea",  # a list that holds itself
        code("x" * count)
        + b"q\xfe0"
        + (global_("pathlib", "PosixPath") + b"h\xfeh\xfe\x86Rq\xfe0") * 40
        + b"N",
        code(dict.fromkeys(range(300), 0))
        + b"q\xfe0("
        + (global_("collections", "OrderedDict") + b"h\xfe\x85R") * min(count, 3_000)
        + b"t",
        b"\x8e" + struct.pack("<Q", 1 << 60),  # a text of an exabyte
        b"r\xff\xff\xff\xff",  # a memo with four thousand million places
    )
    parts = _opcodes(stream)
    parts.insert(rng.randrange(1, len(parts)), rng.choice(bombs) + rng.choice([b"0", b""]))
    return b"".join(parts)


WHOLE: tuple[Mutate, ...] = (flip, cut)
STREAM: tuple[Mutate, ...] = (
    flip_pickle,
    shuffle_opcodes,
    replace_value,
    swap_global,
    insert_call,
    insert_bomb,
)


def mutate(path: Path, target: Path, rng: random.Random) -> str:
    """Write a damaged or poisoned copy of a file.

    Returns:
        What was done to it.
    """
    whole = path.read_bytes()
    is_zip, legacy = zipfile.is_zipfile(path), path.name.startswith("legacy")
    kinds = ["whole", *["stream"] * 3 * (is_zip or legacy), *["members"] * is_zip]
    kind = rng.choice(kinds)
    if kind == "whole":
        change = rng.choice(WHOLE)
        target.write_bytes(change(whole, rng))
        return change.__name__
    if legacy:
        change = rng.choice(STREAM)
        start, end = _fourth_pickle(whole)
        target.write_bytes(whole[:start] + change(whole[start:end], rng) + whole[end:])
        return change.__name__
    with zipfile.ZipFile(path) as file:
        entries = {entry.filename: file.read(entry) for entry in file.infolist()}
    if kind == "members":
        return _members(entries, target, rng)
    stream = next(name for name in entries if name.endswith("/data.pkl"))
    change = rng.choice(STREAM)
    changed = change(entries[stream], rng)
    write_zip({**entries, stream: changed}, target)
    return change.__name__


def write_zip(entries: Mapping[str, bytes], path: Path, method: int = zipfile.ZIP_STORED) -> None:
    """Write entries to a zip."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)


def _members(entries: dict[str, bytes], target: Path, rng: random.Random) -> str:
    names = list(entries)
    one, other = rng.choice(names), rng.choice(names)
    kind = rng.choice(
        ["drop", "rename", "exchange", "compress", "twice", "link", "sizes", "resize"]
    )
    if kind == "drop":
        del entries[one]
    elif kind == "rename":
        entries[rng.choice(["../evil", "/etc/evil", one + "x", "x/data.pkl"])] = entries.pop(one)
    elif kind == "exchange":
        entries[one], entries[other] = entries[other], entries[one]
    elif kind == "resize":
        entries[one] = rng.choice([b"", entries[one] * 2, entries[one][:-1], bytes(1_000)])
    write_zip(entries, target, zipfile.ZIP_DEFLATED if kind == "compress" else zipfile.ZIP_STORED)
    if kind in ("twice", "link"):
        with zipfile.ZipFile(target, "a") as file, warnings.catch_warnings(action="ignore"):
            entry = zipfile.ZipInfo(one if kind == "twice" else f"{one}x")
            entry.external_attr = 0o120777 << 16 if kind == "link" else 0
            file.writestr(entry, b"/etc/passwd")
    if kind == "sizes":
        _declare(target, rng)
    return kind


def _declare(path: Path, rng: random.Random) -> None:
    """Let the directory of a zip declare other sizes, places and methods than there are."""
    whole = bytearray(path.read_bytes())
    starts = [n for n in range(len(whole) - 46) if whole[n : n + 4] == b"PK\x01\x02"]
    for start in rng.sample(starts, min(len(starts), rng.randint(1, 3))):
        at, width = rng.choice([(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (42, 4)])
        value = rng.choice([0, 1, 8, 99, 0xFFFF, 0xFFFF_FFFF]) & ((1 << 8 * width) - 1)
        whole[start + at : start + at + width] = value.to_bytes(width, "little")
    path.write_bytes(whole)


def _fourth_pickle(whole: bytes) -> tuple[int, int]:
    """Where the model is in a file of the old kind: magic, version and system stand before it."""
    file, start = io.BytesIO(whole), 0
    for _ in range(4):
        start = file.tell()
        for _ in pickletools.genops(file):
            pass
    return start, file.tell()


def _opcodes(stream: bytes) -> list[bytes]:
    starts = [at for _, _, at in pickletools.genops(io.BytesIO(stream)) if at is not None]
    return [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)]
