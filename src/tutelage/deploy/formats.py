"""The formats of exported files, and the runtimes of models. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

FormatName = Literal["onnx", "openvino", "ncnn", "litert", "pt2"]
Runtime = Literal["torch", "onnx", "openvino", "ncnn", "litert"]


class Format(NamedTuple):
    """A format.

    Attributes:
        title: Its name in messages.
        suffix: How the name of a file ends.
        writes: Packages that write it.
        runs: Packages that run it.
        beside: Suffixes of the files beside a file.
        has_nms: Whether a file can hold the suppression, and integers.
        one_image: Whether a file always takes one square image of one size.
    """

    title: str
    suffix: str
    writes: tuple[str, ...]
    runs: tuple[str, ...]
    beside: tuple[str, ...] = ()
    has_nms: bool = False
    one_image: bool = False


_ONNX = ("onnx", "onnxscript", "onnxslim")
_LITERT = ("ai_edge_quantizer", "litert_torch")
FORMATS: Mapping[FormatName, Format] = {
    "onnx": Format("ONNX", ".onnx", _ONNX, ("onnxruntime",), has_nms=True),
    "openvino": Format(
        "OpenVINO", ".xml", (*_ONNX, "onnxruntime"), ("openvino",), (".bin",), has_nms=True
    ),
    "ncnn": Format("ncnn", ".ncnn.param", ("pnnx",), ("ncnn",), (".bin", ".json"), one_image=True),
    "litert": Format("LiteRT", ".tflite", _LITERT, ("ai_edge_litert",), one_image=True),
    "pt2": Format("torch.export", ".pt2", (), ()),
}


def format_of(file: str | Path) -> FormatName | None:
    """Return the format of a file by the end of its name; None for other files."""
    suffix = Path(file).suffix.lower()
    if not suffix:
        return None
    return next((name for name, each in FORMATS.items() if each.suffix.endswith(suffix)), None)


def files_of(path: Path) -> list[Path]:
    """Return an exported file and those that belong to it."""
    name = format_of(path)
    beside = FORMATS[name].beside if name else ()
    return [path, *(path.with_suffix(suffix) for suffix in beside)]


def runtime_packages(runtime: Runtime) -> tuple[str, ...]:
    """Return the packages that a runtime needs."""
    return () if runtime == "torch" else FORMATS[runtime].runs
