"""The network as it is deployed: folded, decoded, and traced for any batch and image size."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from tutelage.evaluation.predictor import half_precision
from tutelage.models.graph import GraphDetector
from tutelage.optional_packages import quiet
from tutelage.structures import Predictions

IMAGES, BOXES, SCORES = "images", "boxes", "scores"
LARGEST = 16384  # maximum side in pixels


class DeployedNetwork(nn.Module):
    """A folded copy of a detector with decoding: images to boxes and scores.

    Args:
        detector: The detector; it is not changed.
        half: Compute in half precision up to the decoding; images, boxes and scores stay float32.
    """

    def __init__(self, detector: GraphDetector, *, half: bool = False) -> None:
        super().__init__()
        self.detector = detector.fused().cpu().float()
        if half:
            half_precision(self.detector)
        self.dtype = torch.float16 if half else torch.float32

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return candidates before suppression.

        Args:
            images: ``(b, 3, h, w)`` RGB in 0..1, sides multiples of the largest stride.

        Returns:
            Boxes ``(b, n, 4)``, corners in pixels of the canvas, and scores ``(b, n, c)`` in 0..1.
        """
        raw = cast("tuple[Tensor, ...]", self.detector(images.to(self.dtype)).raw)
        predictions = self.detector.decode(raw, (images.shape[-2], images.shape[-1]))
        return predictions.xyxy, class_scores(predictions)


def class_scores(predictions: Predictions) -> Tensor:
    """Return scores ``(b, n, c)``: objectness times class probability.

    With a single class they are the objectness alone, as in :func:`tutelage.evaluation.nms.nms`.
    """
    if predictions.objectness is None:
        return predictions.logits.sigmoid()
    objectness = predictions.objectness.sigmoid()[..., None]
    single = predictions.logits.shape[-1] == 1
    return objectness if single else predictions.logits.sigmoid() * objectness


def count_convolutions(network: DeployedNetwork) -> int:
    """Count the weights and biases of the convolutions: all parameters of a folded network.

    A convolution whose normalisation is folded later has its bias then.
    """
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    return sum(each.weight.numel() + each.out_channels for each in convolutions)


def trace(network: DeployedNetwork, shape: tuple[int, int, int] | None = None) -> ExportedProgram:
    """Trace a network.

    Args:
        network: The network.
        shape: Number, height and width of the images; None: they stay free.
    """
    if shape is not None:
        with quiet():
            return torch.export.export(network, (torch.rand(shape[0], 3, *shape[1:]),))
    stride = max(network.detector.strides)
    sides = {
        axis: stride * Dim(name, max=LARGEST // stride)
        for axis, name in ((2, "rows"), (3, "columns"))
    }
    # No size may be 1 and no two may be equal: torch would specialise on that.
    example = torch.rand(2, 3, 4 * stride, 5 * stride)
    with quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes={IMAGES: {0: Dim("batch"), **sides}}
        )


def make_portable(program: ExportedProgram) -> None:
    """Prepare a program, in place, to be saved and converted elsewhere.

    The lines of code from which its operations come are removed: paths of this machine. So are the
    ranges of sides, multiples of a size whose own range stays: once they are loaded, torch 2.14
    cannot decompose the program, as all converters do.
    """
    for size in [each for each in program.range_constraints if not each.is_Symbol]:
        del program.range_constraints[size]
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)
