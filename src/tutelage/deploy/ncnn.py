"""ncnn files, converted by pnnx and run by ncnn."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tutelage.deploy.metadata import Metadata
from tutelage.deploy.network import DeployedNetwork
from tutelage.errors import ExportError
from tutelage.files import atomic_write
from tutelage.models.blocks.resample import ReOrg
from tutelage.optional_packages import quiet

INPUT, OUTPUTS = "in0", ("out0", "out1")  # pnnx's names of the images, the boxes and the scores


class _Unshuffle(nn.Module):
    """``ReOrg`` without slices in steps of two, which ncnn does not have."""

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c, h, w)`` to ``(b, 4c, h / 2, w / 2)``."""
        b, c, h, w = x.shape
        blocks = F.pixel_unshuffle(x, 2).unflatten(1, (c, 4)).flatten(3).transpose(1, 2)
        first, right, below, last = blocks.split(1, 1)
        return torch.cat((first, below, right, last), 1).reshape(b, 4 * c, h // 2, w // 2)


def write_ncnn(network: DeployedNetwork, path: Path, metadata: Metadata) -> int:
    """Write ``path``, and beside it the weights, ``.bin``, and the metadata, ``.json``.

    With ``float16`` the weights are stored in half precision; the device chooses its precision.

    Args:
        network: The network; its ``ReOrg`` are replaced.
        path: The file.
        metadata: Its metadata.

    Returns:
        The number of parameters in the file.

    Raises:
        ExportError: pnnx cannot convert the network.
    """
    batch, height, width = metadata.shape or (1, metadata.image_size, metadata.image_size)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ReOrg):
                setattr(parent, name, _Unshuffle())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with quiet(), torch.no_grad():
            images = torch.rand(batch, 3, height, width)
            traced: Any = torch.jit.trace(network, images)
            traced.save(folder / "network.pt")
        _convert(folder, f"inputshape=[{batch},3,{height},{width}]", metadata)
        for suffix in (".bin", ".param"):
            content = (folder / f"network.ncnn{suffix}").read_bytes()
            atomic_write(path.with_suffix(suffix), lambda file, data=content: file.write(data))
    about = metadata.model_dump_json(indent=1)
    atomic_write(path.with_suffix(".json"), lambda file: file.write(about.encode()))
    return count_parameters(path)


def describe_ncnn(metadata: Metadata) -> Metadata:
    """Return the metadata with a description of such a file."""
    boxes, scores = OUTPUTS
    names = f" ncnn has no batch, and names: {INPUT} images, {boxes} boxes, {scores} scores."
    return metadata.described(more=names)


def _convert(folder: Path, shape: str, metadata: Metadata) -> None:
    """Convert ``network.pt`` in a folder to ``network.ncnn.param`` and ``.bin``."""
    import pnnx

    command = [pnnx.EXEC_PATH, "network.pt", shape, f"fp16={int(metadata.precision == 'float16')}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or not (folder / "network.ncnn.bin").exists():
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ExportError(
            f"pnnx cannot convert {metadata.arch}: {said[-1]}",
            fix="Please report it with the version of pnnx.",
            code="E21",
        )
    layers = (line.split()[0] for line in _layers(folder / "network.ncnn.param"))
    missing = sorted({layer for layer in layers if "." in layer})  # pnnx keeps torch's name
    if missing:
        raise ExportError(
            f"{metadata.arch} has operations that ncnn does not have: {', '.join(missing)}",
            fix="Take another format:  tutelage export RUN --to onnx",
            code="E21",
        )


def _layers(path: Path) -> list[str]:
    """Return the lines of a ``.param`` file that describe a layer."""
    return path.read_text().splitlines()[2:]


def count_parameters(path: Path) -> int:
    """Count the weights and biases of the convolutions of a ``.param`` file."""
    total = 0
    for line in _layers(path):
        kind, _, inputs, outputs, *rest = line.split()
        if kind.startswith("Convolution"):
            value = dict(each.split("=") for each in rest[int(inputs) + int(outputs) :])
            total += int(value["6"]) + int(value["0"]) * int(value.get("5", 0))
    return total


def read_ncnn_metadata(path: Path) -> Metadata:
    """Read the metadata beside a ``.param`` file.

    Raises:
        WeightsError: There are none: the file was not exported by tutelage.
    """
    beside = path.with_suffix(".json")
    return Metadata.read_json(beside.read_bytes() if beside.is_file() else b"", str(path))


def ncnn_session(path: Path) -> Callable[[NDArray[np.float32]], list[NDArray[Any]]]:
    """Return a function from images ``(b, 3, h, w)`` to boxes and scores, on the CPU.

    Raises:
        ValueError: ncnn cannot read the files.
    """
    import ncnn

    library: Any = ncnn  # its type stubs are incomplete
    network = library.Net()
    network.opt.num_threads = torch.get_num_threads()
    # ARM processors would round to float16.
    network.opt.use_fp16_packed = False
    network.opt.use_fp16_storage = False
    network.opt.use_fp16_arithmetic = False
    for load, file in ((network.load_param, path), (network.load_model, path.with_suffix(".bin"))):
        if not file.exists() or load(str(file)):
            raise ValueError(f"{file.name} is missing or damaged")

    def run(images: NDArray[np.float32]) -> list[NDArray[Any]]:
        outputs: list[list[NDArray[Any]]] = [[], []]
        for image in images:
            extractor = network.create_extractor()
            extractor.input(INPUT, library.Mat(image))  # it uses the memory of the array
            for name, found in zip(OUTPUTS, outputs, strict=True):
                found.append(np.array(extractor.extract(name)[1]))
        return [np.stack(found) for found in outputs]

    return run
