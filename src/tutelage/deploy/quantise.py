"""Eight-bit integers in place of floats, where that does little harm: for ONNX Runtime."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from tutelage.data import letterbox
from tutelage.deploy.metadata import Metadata
from tutelage.deploy.network import IMAGES, quiet
from tutelage.deploy.onnx import write_onnx


class _Reader(CalibrationDataReader):
    """Hands out inputs by name, one after the other."""

    def __init__(self, inputs: Iterator[NDArray[np.float32]]) -> None:
        self._inputs = inputs

    def get_next(self) -> Any:
        """Return the next, or None after the last."""
        found = next(self._inputs, None)
        return None if found is None else {IMAGES: found}


def write_int8_onnx(
    model: ModelProto, path: Path, metadata: Metadata, images: Sequence[NDArray[np.uint8]]
) -> None:
    """Quantise a model statically, all but :func:`tail`, and write it.

    Args:
        model: The model in floats.
        path: The file.
        metadata: What is written into it.
        images: Pictures for the ranges of the activations, ``(h, w, 3)`` uint8 RGB.
    """
    with quiet():
        quantize_static(
            copy.deepcopy(model),  # it is taken apart
            path,
            _Reader(inputs(images, metadata.image_size)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # sums of two full products overflow where VNNI is missing
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=tail(model),
        )
    write_onnx(onnx.load(path), path, metadata)


def tail(model: ModelProto) -> list[str]:
    """Return the names of the last convolutions and of all that follows them.

    They stay in floats: a box in eight bits would be right to a few pixels only.
    """
    leads_on: set[str] = set()  # the values that another convolution is computed from
    ends: list[str] = []
    for node in reversed(model.graph.node):  # ONNX keeps its nodes in order of computation
        if leads_on.isdisjoint(node.output):
            ends.append(node.name)
        if node.op_type == "Conv" or not leads_on.isdisjoint(node.output):
            leads_on.update(node.input)
    return ends


def inputs(images: Sequence[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.float32]]:
    """Yield pictures as a network wants them: ``(1, 3, size, size)`` in 0..1."""
    for image in images:
        canvas = letterbox(image, (size, size))[0]
        yield canvas.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
