"""How the network of a teacher is run: by torch, in bfloat16, compiled, or by OpenVINO.

All give features and raw outputs in float32, and the same bits whenever they are asked again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.models.detector import Detector
from tutelage.optional_packages import quiet
from tutelage.structures import Output, height_width
from tutelage.teachers.openvino_graph import openvino_graph

Graph = Callable[[Tensor], Sequence[Tensor]]
"""From images to raw outputs, then features."""


class Forward(Protocol):
    """What a network does with images, see :meth:`Detector.forward`."""

    def __call__(self, images: Tensor, taps: Sequence[str], /, *, head: bool) -> Output:
        """Return raw outputs (None without head) and the features of the taps."""
        ...


def make_forward(
    runtime: str, network: Detector, *, batch: int, samples: Sequence[Tensor] = ()
) -> Forward:
    """Return a way to run a network.

    Args:
        runtime: ``torch``, ``bf16``, ``compile``, ``openvino`` or ``openvino-int8``.
        network: A fused network in float32; it stays as it is.
        batch: Images for which the last three are compiled, at the first call.
        samples: Batches of images ``(b, 3, h, w)`` from which ``openvino-int8`` takes the ranges of
            its integers.
    """
    if runtime == "bf16":
        return BFloat16(network)
    if runtime == "compile":
        return FixedBatch(network, batch, _compiled)
    if runtime.startswith("openvino"):
        ranges = samples if runtime == "openvino-int8" else ()
        return FixedBatch(network, batch, lambda flat, like: openvino_graph(flat, like, ranges))
    return network


class BFloat16:
    """A copy of a network that computes in bfloat16 throughout.

    Args:
        network: The network.
    """

    def __init__(self, network: Detector) -> None:
        self._network = copy.deepcopy(network).to(torch.bfloat16)

    def __call__(self, images: Tensor, taps: Sequence[str], /, *, head: bool) -> Output:
        """Run the copy."""
        out = self._network(images.to(torch.bfloat16), taps, head=head)
        raw = None if out.raw is None else tuple(level.float() for level in out.raw)
        return Output(raw, tuple(feature.float() for feature in out.taps))


class FixedBatch:
    """Runs graphs that are compiled for one number of images on batches of any.

    Batches are split; a part with too few images is filled up with black ones. No image of a
    network in evaluation mode depends on the others. The head is run in any case, so that there is
    one graph per image size and taps.

    Args:
        network: The network.
        batch: Images per graph.
        compile_graph: From a module and an example of its images to a graph.
    """

    def __init__(
        self, network: Detector, batch: int, compile_graph: Callable[[nn.Module, Tensor], Graph]
    ) -> None:
        self._network, self._batch, self._compile = network, batch, compile_graph
        self._graphs: dict[tuple[tuple[str, ...], tuple[int, int]], Graph] = {}

    def __call__(self, images: Tensor, taps: Sequence[str], /, *, head: bool) -> Output:
        """Run the graph of this image size and these taps; compile it if it is the first time."""
        parts = [_filled_up(part, self._batch) for part in images.split(self._batch)]
        key = tuple(taps), height_width(images)
        if key not in self._graphs:
            with quiet():
                self._graphs[key] = self._compile(Flat(self._network, taps), parts[0])
        maps = [self._graphs[key](part) for part in parts]
        joined = [torch.cat(tuple(each))[: len(images)] for each in zip(*maps, strict=True)]
        levels = len(joined) - len(taps)
        return Output(tuple(joined[:levels]) if head else None, tuple(joined[levels:]))


class Flat(nn.Module):
    """A network whose raw outputs and features are one tuple.

    Args:
        network: The network.
        taps: The layers of the features.
    """

    def __init__(self, network: Detector, taps: Sequence[str]) -> None:
        super().__init__()
        self.network, self.taps = network, tuple(taps)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return raw outputs, then features."""
        out: Output = self.network(images, self.taps)
        return (*(out.raw or ()), *out.taps)


def _filled_up(images: Tensor, count: int) -> Tensor:
    missing = count - len(images)
    return F.pad(images, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else images


def _compiled(flat: nn.Module, like: Tensor) -> Graph:
    options: dict[str, Any] = {"freezing": True} if like.device.type == "cpu" else {}
    graph: Any = torch.compile(flat, dynamic=False, options=options)
    graph(like)
    return cast("Graph", graph)
