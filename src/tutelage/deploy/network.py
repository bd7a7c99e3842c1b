"""The network as it is deployed: folded, decoded, and traced for any batch and image size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tutelage.evaluation.predictor import half_precision
from tutelage.models.graph import GraphDetector

IMAGES, BOXES, SCORES = "images", "boxes", "scores"
LARGEST = 16384  # pixels per side


class DeployedNetwork(nn.Module):
    """The folded copy of a detector, with decoding: images to boxes and scores.

    Args:
        detector: The detector; it stays as it is.
        half: Compute in half precision up to the decoding; images, boxes and scores stay float32.
    """

    def __init__(self, detector: GraphDetector, *, half: bool = False) -> None:
        super().__init__()
        self.detector = detector.fused().cpu().float()
        if half:
            half_precision(self.detector)
        self.dtype = torch.float16 if half else torch.float32

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Find candidates.

        Args:
            images: ``(b, 3, h, w)`` RGB in 0..1, sides multiples of the largest stride.

        Returns:
            Boxes ``(b, n, 4)``, corners in pixels of the canvas, and scores ``(b, n, c)`` in 0..1:
            objectness times class probability, with a single class objectness alone.
        """
        seen = images.to(self.dtype)
        raw = cast("tuple[Tensor, ...]", self.detector(seen).raw)  # the head was run
        found = self.detector.decode(raw, (images.shape[-2], images.shape[-1]))
        if found.objectness is None:
            return found.xyxy, found.logits.sigmoid()
        objectness = found.objectness.sigmoid()[..., None]
        single = found.logits.shape[-1] == 1
        return found.xyxy, objectness if single else found.logits.sigmoid() * objectness


def traced(network: DeployedNetwork) -> ExportedProgram:
    """Trace a network with free batch size, height and width."""
    stride = max(network.detector.strides)
    most = LARGEST // stride
    sides = {axis: stride * Dim(name, max=most) for axis, name in ((2, "rows"), (3, "columns"))}
    # No size of the example may be 1, nor two of them alike: torch would take that for a rule.
    example = torch.rand(2, 3, 4 * stride, 5 * stride)
    with quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes={IMAGES: {0: Dim("batch"), **sides}}
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters tell their developers off the screen."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
