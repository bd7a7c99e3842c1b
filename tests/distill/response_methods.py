"""Methods that compare predictions, and the predictions of small heads to compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tests.distill.fake_networks import CHANNELS, GRIDS, knowledge
from tutelage.distill.method import Method
from tutelage.distill.methods.bckd import BCKD
from tutelage.distill.methods.box import BoxKD
from tutelage.distill.methods.frs import FRS
from tutelage.distill.methods.ld import LD
from tutelage.distill.methods.logits import ClassLogits
from tutelage.distill.methods.objectness import ObjectnessScaled
from tutelage.distill.methods.sl2 import ScoreWeightedL2
from tutelage.models.heads.decode import decode
from tutelage.structures import Knowledge, Predictions

KINDS: dict[str, Callable[[Sequence[tuple[int, int]]], Method]] = {
    "objectness": ObjectnessScaled,
    "logits": ClassLogits,
    "cool logits": lambda channels: ClassLogits(channels, temperature=3.0),
    "softmax": lambda channels: ClassLogits(channels, form="softmax"),
    "iou": lambda channels: BoxKD(channels, overlap="iou"),
    "log iou": lambda channels: BoxKD(channels, overlap="log_iou"),
    "giou": BoxKD,
    "ciou": lambda channels: BoxKD(channels, overlap="ciou"),
    "bckd": BCKD,
    "ld": LD,
    "frs": FRS,
    "sl2": ScoreWeightedL2,
}
BOX, OBJECTNESS, CLASSES = slice(0, 4), slice(4, 5), slice(5, None)
READS = {  # channels of the head that a method compares
    "objectness": (BOX, OBJECTNESS, CLASSES),
    "logits": (CLASSES,),
    "cool logits": (CLASSES,),
    "softmax": (CLASSES,),
    "iou": (BOX,),
    "log iou": (BOX,),
    "giou": (BOX,),
    "ciou": (BOX,),
    "bckd": (BOX, OBJECTNESS, CLASSES),
    "ld": (),
    "frs": (CLASSES,),
    "sl2": (),
}
MAPS = ("frs", "sl2")
ANCHORS = torch.tensor([[[10.0, 13.0], [16.0, 30.0]], [[33.0, 23.0], [30.0, 61.0]]])
STRIDES = (8, 16)
STUDENT, TEACHER = (tuple(widths) for widths in zip(*CHANNELS, strict=True))


class Known:
    """A knowledge and the leaves that it was made from."""

    def __init__(self, widths: Sequence[int], seed: int, dtype: torch.dtype = torch.float32):
        draw = torch.Generator().manual_seed(seed)
        raw = [torch.randn(2, 2, *grid, 9, generator=draw) for grid in GRIDS]
        self.raw = tuple(level.to(dtype).requires_grad_() for level in raw)
        self.bins = torch.randn(2, 150, 4, 5, generator=draw).to(dtype).requires_grad_()
        predictions = decode(self.raw, ANCHORS, STRIDES)._replace(bins=self.bins)
        features = tuple(x.requires_grad_() for x in knowledge(2, widths, seed, dtype).features)
        self.knowledge = Knowledge(features, predictions)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return (*self.raw, self.bins, *self.knowledge.features)


def each(known: Knowledge, change: Callable[[Tensor], Tensor]) -> Knowledge:
    """Change all tensors but the levels."""
    predictions = known.predictions
    assert predictions is not None
    fields = [
        change(x.detach()) if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in predictions
    ]
    features = tuple(change(x.detach()) for x in known.features)
    return Knowledge(features, Predictions(*fields))


def build(name: str, channels: Sequence[tuple[int, int]] = CHANNELS) -> Method:
    torch.manual_seed(0)
    return KINDS[name](channels)


def pair(dtype: torch.dtype = torch.float32) -> tuple[Knowledge, Knowledge]:
    return Known(STUDENT, 1, dtype).knowledge, Known(TEACHER, 2, dtype).knowledge


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()
