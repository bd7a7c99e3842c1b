"""OpenVINO files, converted from an ONNX model."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import openvino
from numpy.typing import NDArray
from onnx import ModelProto

from tutelage.deploy.metadata import MARK, Metadata, Suppression
from tutelage.deploy.onnx import suppression
from tutelage.deploy.quantise import inputs, tail
from tutelage.optional_packages import openvino_core, quiet

IR, OPSET = 10, 20  # ONNX versions of the suppression


def write_openvino(model: ModelProto, path: Path, metadata: Metadata) -> None:
    """Write ``path`` and the ``.bin`` beside it, with the metadata inside.

    With ``float16`` the weights are stored in half precision; the device chooses its precision.
    """
    _write(_converted(model), path, metadata)


def add_suppression(source: Path, target: Path, metadata: Metadata) -> None:
    """Write the model of ``source`` followed by the suppression of ``metadata``."""
    model = openvino_core().read_model(source)
    shape = None
    if metadata.shape is not None:
        batch, candidates, classes = model.outputs[1].shape
        shape = (batch, candidates, classes)
    tail = suppression_model(cast("Suppression", metadata.nms), shape)
    for parameter, result in zip(tail.get_parameters(), model.get_results(), strict=True):
        parameter.output(0).replace(result.input_value(0))
    make: Any = openvino.Model  # its type stubs are inconsistent
    joined = make(tail.get_results(), model.get_parameters(), model.get_friendly_name())
    joined.validate_nodes_and_infer_types()
    _write(joined, target, metadata)


def suppression_model(settings: Suppression, shape: tuple[int, int, int] | None = None) -> Any:
    """Return the suppression as an OpenVINO model; shape as for ONNX.

    OpenVINO drops boxes whose overlap is the limit or more; ONNX Runtime and torchvision those
    above it. So its limit is the next float32; no denormal one, which its CPU takes for 0.
    """
    following = np.nextafter(np.float32(settings.iou), np.float32(np.inf))
    limit = float(max(following, np.finfo(np.float32).tiny))
    above = settings.model_copy(update={"iou": limit})
    return _converted(suppression(above, ir=IR, opset=OPSET, shape=shape))


def write_int8_openvino(
    model: ModelProto, path: Path, metadata: Metadata, images: Sequence[NDArray[np.uint8]]
) -> None:
    """Quantise a model by NNCF and write it; arguments as of ``write_int8_onnx``.

    OpenVINO also reads files quantised by ONNX Runtime, but loses a quarter of the AP with them
    on processors without VNNI.
    """
    os.environ.setdefault("NNCF_CI", "1")  # disables its telemetry
    with quiet():
        import nncf

    nncf.set_log_level(logging.ERROR)
    converted = _converted(model)
    kept = {each.get_friendly_name() for each in converted.get_ops()} & set(tail(model))
    with quiet(), contextlib.redirect_stdout(io.StringIO()):  # no progress bars
        quantised = nncf.quantize(
            converted,
            nncf.Dataset(list(inputs(images, metadata))),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=sorted(kept)),
        )
    _write(quantised, path, metadata)


def _converted(model: ModelProto) -> Any:
    # The core reads ONNX; OpenVINO's converter does the same but sends telemetry.
    return openvino_core().read_model(model.SerializeToString())


def _write(model: Any, path: Path, metadata: Metadata) -> None:
    for key, value in metadata.strings().items():
        model.set_rt_info(value, [MARK, key])
    openvino.save_model(model, path, compress_to_fp16=metadata.precision == "float16")
