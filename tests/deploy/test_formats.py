"""Formats by the names of files."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tutelage.cli.bench import RuntimeChoice
from tutelage.deploy import formats
from tutelage.deploy.formats import FORMATS, files_of, format_of
from tutelage.optional_packages import TITLES


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("best.onnx", "onnx"),
        ("BEST.ONNX", "onnx"),
        ("best-int8.xml", "openvino"),
        ("yolov7-tiny@0.25.ncnn.param", "ncnn"),
        (Path("x/best.tflite"), "litert"),
        ("best.pt2", "pt2"),
        ("best.pt", None),
        ("best.safetensors", None),
        ("runs/distilled", None),
        ("onnx", None),
        (".", None),
    ],
)
def test_a_file_says_its_format(file, form) -> None:
    assert format_of(file) == form


def test_what_lies_beside() -> None:
    assert files_of(Path("a/b.xml")) == [Path("a/b.xml"), Path("a/b.bin")]
    names = [file.name for file in files_of(Path("a/b.ncnn.param"))]
    assert names == ["b.ncnn.param", "b.ncnn.bin", "b.ncnn.json"]
    assert files_of(Path("a/b.tflite")) == [Path("a/b.tflite")]


def test_the_names_are_those_of_the_table() -> None:
    assert get_args(formats.FormatName) == tuple(FORMATS)
    assert get_args(formats.Runtime) == ("torch", *(n for n, each in FORMATS.items() if each.runs))
    assert get_args(formats.Runtime) == tuple(RuntimeChoice)
    packages = {package for each in FORMATS.values() for package in (*each.writes, *each.runs)}
    assert packages <= set(TITLES)
