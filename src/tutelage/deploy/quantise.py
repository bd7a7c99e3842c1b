"""Quantisation to eight-bit integers for ONNX Runtime."""

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
from tutelage.deploy.network import IMAGES
from tutelage.deploy.onnx import write_onnx
from tutelage.optional_packages import quiet


class _Reader(CalibrationDataReader):
    """Provides calibration inputs by name."""

    def __init__(self, inputs: Iterator[NDArray[np.float32]]) -> None:
        self._inputs = inputs

    def get_next(self) -> Any:
        """Return the next input, or None after the last."""
        images = next(self._inputs, None)
        return None if images is None else {IMAGES: images}


def write_int8_onnx(
    model: ModelProto, path: Path, metadata: Metadata, images: Sequence[NDArray[np.uint8]]
) -> None:
    """Quantise a model statically, except :func:`tail`, and write it.

    Args:
        model: The model in floats.
        path: The file.
        metadata: Its metadata.
        images: Pictures for the calibration of the activations, ``(h, w, 3)`` uint8 RGB.
    """
    with quiet():
        quantize_static(
            copy.deepcopy(model),  # it is modified
            path,
            _Reader(inputs(images, metadata)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # products would overflow on processors without VNNI
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=tail(model),
        )
    write_onnx(onnx.load(path), path, metadata)


def tail(model: ModelProto) -> list[str]:
    """Return the names of the last convolutions and of all nodes after them.

    They stay in floats: boxes in eight bits would be wrong by a few pixels.
    """
    before_conv: set[str] = set()  # values that a later convolution depends on
    ends: list[str] = []
    for node in reversed(model.graph.node):  # ONNX nodes are in topological order
        if before_conv.isdisjoint(node.output):
            ends.append(node.name)
        if node.op_type == "Conv" or not before_conv.isdisjoint(node.output):
            before_conv.update(node.input)
    return ends


def inputs(
    images: Sequence[NDArray[np.uint8]], metadata: Metadata
) -> Iterator[NDArray[np.float32]]:
    """Yield pictures as inputs ``(b, 3, h, w)`` in 0..1, with copies if the batch is fixed."""
    batch, *canvas_hw = metadata.shape or (1, metadata.image_size, metadata.image_size)
    for image in images:
        canvas = letterbox(image, (canvas_hw[0], canvas_hw[1]))[0]
        one = canvas.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        yield np.repeat(one, batch, axis=0)
