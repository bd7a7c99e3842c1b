"""Making foreign checkpoints: whole pickled models of made-up modules, and hostile pickles."""

from __future__ import annotations

import io
import struct
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

YAML = {
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "backbone": [[-1, 1, "Conv", [8, 3, 1]]],
    "head": [[[0, 0], 1, "Detect", ["nc", "anchors"]]],
}


class Conv(nn.Module):
    """A convolution with BatchNorm, under the attribute names of the published code."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, 3, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.SiLU()
        self.i, self.f, self.type = 0, -1, "models.common.Conv"


class Detect(nn.Module):
    """A head with its anchor buffers."""

    def __init__(self, *, anchor_grid: bool = True) -> None:
        super().__init__()
        self.nc, self.nl, self.na = 2, 2, 2
        self.stride = torch.tensor([8.0, 16.0])
        self.grid = [torch.zeros(1)] * 2
        anchors = torch.tensor(YAML["anchors"]).float().view(2, 2, 2)
        self.register_buffer("anchors", anchors / self.stride.view(2, 1, 1))
        if anchor_grid:
            self.register_buffer("anchor_grid", anchors.view(2, 1, 2, 1, 1, 2))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.m = nn.ModuleList(nn.Conv2d(8, 14, 1) for _ in range(2))


class Model(nn.Module):
    """A model object with the attributes that checkpoints carry."""

    def __init__(self, *, anchor_grid: bool = True, names: object = None) -> None:
        super().__init__()
        self.model = nn.Sequential(Conv(3, 8), Detect(anchor_grid=anchor_grid))
        self.yaml = dict(YAML)
        self.names = ["cat", "dog"] if names is None else names
        self.stride = torch.tensor([8.0, 16.0])
        self.nc = 2
        self.hyp = {"lr0": 0.01, "nested": {"a": [1, 2.5, None, True]}}


_HOMES: Mapping[type, str] = {Conv: "models.common", Detect: "models.yolo", Model: "models.yolo"}


@contextmanager
def published_modules(homes: Mapping[type, str] = _HOMES) -> Iterator[None]:
    """While this lasts, the classes above pickle under the paths of the published code."""
    before = {kind: kind.__module__ for kind in homes}
    names = {parent for home in homes.values() for parent in (home.split(".")[0], home)}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    for kind, home in homes.items():
        kind.__module__ = home
        setattr(sys.modules[home], kind.__name__, kind)
    try:
        yield
    finally:
        for kind, home in before.items():
            kind.__module__ = home
        for name in names:
            del sys.modules[name]


def save(content: Any, path: Path, homes: Mapping[type, str] = _HOMES) -> Path:
    """``torch.save`` an object that contains the classes above."""
    with published_modules(homes):
        torch.save(content, path)
    return path


def archive(pickle: bytes, path: Path, entries: Mapping[str, bytes] | None = None) -> Path:
    """Write a torch.save archive around a hand-made pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", pickle)
        file.writestr("archive/version", b"3\n")
        for name, content in (entries or {}).items():
            file.writestr(f"archive/{name}", content)
    return path


class Writer:
    """Writes pickle opcodes by hand."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.out.write(b"\x80\x02")

    def name(self, module: str, attribute: str) -> Writer:
        self.out.write(b"c" + module.encode() + b"\n" + attribute.encode() + b"\n")
        return self

    def value(self, value: Any) -> Writer:
        match value:
            case None:
                self.out.write(b"N")
            case bool():
                self.out.write(b"\x88" if value else b"\x89")
            case int():
                raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                self.out.write(b"\x8b" + struct.pack("<i", len(raw)) + raw)
            case float():
                self.out.write(b"G" + struct.pack(">d", value))
            case str():
                self.out.write(b"X" + struct.pack("<I", len(value.encode())) + value.encode())
            case bytes():
                self.out.write(b"B" + struct.pack("<I", len(value)) + value)
            case tuple():
                self.out.write(b"(")
                for item in value:
                    self.value(item)
                self.out.write(b"t")
            case list():
                self.out.write(b"](")
                for item in value:
                    self.value(item)
                self.out.write(b"e")
            case dict():
                self.out.write(b"}(")
                for key, item in value.items():
                    self.value(key).value(item)
                self.out.write(b"u")
            case Raw():
                self.out.write(value.code)
            case _:
                raise TypeError(type(value))
        return self

    def raw(self, code: bytes) -> Writer:
        self.out.write(code)
        return self

    def done(self) -> bytes:
        return self.out.getvalue() + b"."


class Raw:
    """Opcodes that leave one value on the stack."""

    def __init__(self, code: bytes) -> None:
        self.code = code


def code(value: Any) -> bytes:
    """The opcodes of a plain value."""
    return Writer().value(value).out.getvalue()[2:]


def global_(module: str, attribute: str) -> bytes:
    """The opcode that names a class or function."""
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def call(module: str, attribute: str, *args: Any) -> Raw:
    """Opcodes that would call ``module.attribute(*args)``."""
    return Raw(global_(module, attribute) + code(args) + b"R")


def new(module: str, attribute: str, state: Any) -> Raw:
    """Opcodes that would make an object and give it its state."""
    return Raw(global_(module, attribute) + b")\x81" + code(state) + b"b")


def storage(
    key: Any = "0", numel: Any = 6, kind: str = "FloatStorage", module: str = "torch"
) -> Raw:
    """Opcodes of a storage's persistent id."""
    identifier = ("storage", Raw(global_(module, kind)), key, "cpu", numel)
    return Raw(code(identifier) + b"Q")


def tensor(size: Any = (2, 3), stride: Any = (3, 1), offset: Any = 0, of: Raw | None = None) -> Raw:
    """Opcodes of a tensor."""
    hooks = call("collections", "OrderedDict")
    args = (of or storage(), offset, size, stride, False, hooks)
    return call("torch._utils", "_rebuild_tensor_v2", *args)


def model(parameter: Any, **fields: Any) -> Raw:
    """Opcodes of a model with one parameter."""
    state = {
        "_parameters": {"weight": parameter},
        "_buffers": {},
        "_modules": {},
        "yaml": {"nc": 1},
        "nc": 1,
        "names": ["x"],
        **fields,
    }
    return new("models.yolo", "Model", state)
