"""LiteRT (TensorFlow Lite) files, converted by LiteRT Torch and run by LiteRT."""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tutelage.deploy.metadata import METADATA_FILE, Metadata
from tutelage.deploy.network import BOXES, IMAGES, SCORES, DeployedNetwork
from tutelage.errors import ExportError
from tutelage.optional_packages import quiet

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


class _ChannelsLast(nn.Module):
    """A network that takes pictures as phones have them, with names for its outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images ``(b, h, w, 3)`` to boxes ``(b, n, 4)`` and scores ``(b, n, c)``."""
        boxes, scores = self.network(images.permute(0, 3, 1, 2))
        return {BOXES: boxes, SCORES: scores}


def write_litert(network: DeployedNetwork, path: Path, metadata: Metadata) -> int:
    """Write ``path``, with the metadata in a zip archive at its end, as TensorFlow Lite has it.

    With ``float16`` the weights are stored in half precision; the device chooses its precision.

    Returns:
        The number of parameters in the file.

    Raises:
        ExportError: LiteRT Torch cannot convert the network.
    """
    batch, height, width = metadata.shape or (1, metadata.image_size, metadata.image_size)
    # LiteRT Torch 0.10 mixes up channels-last weights of equal shape: it takes the address of a
    # copy, which it frees, for the name of a weight.
    network = network.to(memory_format=torch.contiguous_format)
    example = {IMAGES: torch.rand(batch, height, width, 3)}
    try:
        with quiet(), silent():
            litert_torch: Any = import_module("litert_torch")
            converted = litert_torch.convert(_ChannelsLast(network).eval(), sample_kwargs=example)
            converted.export(str(path))
    except Exception as error:  # its errors have no common base
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"LiteRT Torch cannot convert {metadata.arch}: {said[-1]}",
            fix="Please report it with the versions of litert-torch and torch.",
            code="E21",
        ) from error
    count = count_parameters(path)
    if metadata.precision == "float16":
        with quiet(), silent():
            path.write_bytes(_halved(path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_FILE, metadata.model_dump_json(indent=1))
    return count


def describe_litert(metadata: Metadata) -> Metadata:
    """Return the metadata with a description of such a file."""
    batch, height, width = metadata.shape or (1, metadata.image_size, metadata.image_size)
    return metadata.described(f"({batch}, {height}, {width}, 3)")


def _halved(path: Path) -> bytes:
    """Return the file with its weights in float16; they are widened when it is loaded."""
    quantizer: Any = import_module("ai_edge_quantizer.quantizer")
    qtyping: Any = import_module("ai_edge_quantizer.qtyping")
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    halver = quantizer.Quantizer(str(path))
    halver.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key="float_casting",
    )
    return bytes(halver.quantize().quantized_model)


def count_parameters(path: Path) -> int:
    """Count the weights and biases of the convolutions.

    Weights that two of them share count once; biases may be shared where they are equal, e.g. 0.
    """
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    [graph] = model.subgraphs
    kinds = {getattr(schema.BuiltinOperator, name) for name in CONVOLUTIONS}
    weights: dict[int, int] = {}
    biases = 0
    for operation in graph.operators:
        if model.operatorCodes[operation.opcodeIndex].builtinCode in kinds:
            weight, bias = (graph.tensors[number] for number in operation.inputs[1:])
            weights[weight.buffer] = math.prod(weight.shape)
            biases += math.prod(bias.shape)
    return sum(weights.values()) + biases


def read_litert_metadata(path: Path) -> Metadata:
    """Read the metadata of a ``.tflite`` file.

    Raises:
        WeightsError: The file is damaged or was not exported by tutelage.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(METADATA_FILE)
    except (zipfile.BadZipFile, KeyError):
        text = b""
    return Metadata.read_json(text, str(path))


def litert_session(path: Path) -> Callable[[NDArray[np.float32]], list[NDArray[Any]]]:
    """Return a function from images ``(b, 3, h, w)`` to boxes and scores, on the CPU."""
    with silent():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()

    def run(images: NDArray[np.float32]) -> list[NDArray[Any]]:
        found = runner(**{IMAGES: np.ascontiguousarray(images.transpose(0, 2, 3, 1))})
        return [found[BOXES], found[SCORES]]

    return run


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Discard what Python prints and what libraries in C++ write to standard error."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
