"""The detection loss of anchor heads: YOLOv5 and YOLOv7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.config.schema import LossConfig
from tutelage.losses.assigner import NEAREST, POOL, Matches, anchor_candidates, simota
from tutelage.losses.boxes import centre_size, complete_iou, corners, decode_cell
from tutelage.losses.criterion import Criterion
from tutelage.losses.gather import last_written, pick
from tutelage.structures import Targets

_FOCAL_ALPHA = 0.25
_BALANCE_OF_3 = (4.0, 1.0, 0.4)
_BALANCE = (4.0, 1.0, 0.25, 0.06, 0.02)
FEW = 10  # classes; with fewer, the gain of cls is lower


class AnchorCriterion(Criterion):
    """Box, objectness and class loss of an anchor head.

    A box is predicted by the anchors and cells that fit its shape and place (``"anchor"``, YOLOv5)
    or by the best of these (``"ota"``, YOLOv7). Before the gains the terms are, summed over levels:

    - ``box``: 1 - CIoU, mean over the matches of the level;
    - ``obj``: binary cross-entropy, mean over all predictions of the level, weighted per level. The
      target is the CIoU of a match (at least 0, without gradient) and 0 elsewhere. If a prediction
      has several matches the last counts, in the order of :mod:`tutelage.losses.assigner`;
    - ``cls``: binary cross-entropy, mean over the matches of the level and the classes; zero if
      there is only one class.

    Computed in float32 whatever autocast says (float64 stays float64). The state dict is empty.

    Args:
        anchors: ``(nl, na, 2)`` widths and heights in pixels.
        strides: Pixels per cell, per level.
        classes: Number of classes.
        config: Gains and constants.
        assigner: Which predictions are assigned to a box.
        image_size: Side of the training images in pixels, for the objectness gain.

    Raises:
        ValueError: If anchors and strides do not describe the same one to five levels.
    """

    pool: ClassVar[int] = POOL

    anchors: Tensor
    cell: Tensor

    def __init__(
        self,
        *,
        anchors: Tensor,
        strides: Sequence[int],
        classes: int,
        config: LossConfig,
        assigner: Literal["ota", "anchor"],
        image_size: int,
    ) -> None:
        super().__init__()
        levels = len(strides)
        if (
            anchors.ndim != 3
            or anchors.shape[::2] != (levels, 2)
            or not 1 <= levels <= len(_BALANCE)
        ):
            raise ValueError(
                f"expected anchors (levels, anchors, 2) for {levels} strides "
                f"(1 to {len(_BALANCE)}), got {tuple(anchors.shape)}"
            )
        self.register_buffer("anchors", anchors.detach().clone(), persistent=False)
        self.register_buffer("cell", torch.tensor(strides, device=anchors.device), persistent=False)
        self.strides = tuple(int(stride) for stride in strides)
        self.classes = classes
        self.config = config
        self.assigner = assigner
        self.balance = _BALANCE_OF_3 if levels == 3 else _BALANCE[:levels]
        factors = gain_factors(config.scaling, levels, classes, image_size)
        self.gains = {name: getattr(config, name) * factor for name, factor in factors.items()}
        self.image_size = image_size

    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compute the terms ``box``, ``obj`` and ``cls``; see :meth:`Criterion.forward`.

        Args:
            raw: Logits ``(b, na, ny, nx, 5 + classes)`` per level: x, y, w, h, objectness, classes.
            targets: The boxes, in pixels of the canvas.
            image_size: Height and width of the canvas in pixels.

        Raises:
            ValueError: If ``raw`` is not of these levels, anchors, classes and this canvas.
        """
        self._check(raw, image_size)
        with torch.autocast(raw[0].device.type, enabled=False):
            terms = self.terms(raw, targets, self.match(raw, targets))
        return {name: self.gains[name] * value for name, value in terms.items()}

    def describe(self) -> str:
        """Return the gains, and beside those of ``scaling: auto`` what YOLOv7 would have."""
        used = {k: gain for k, gain in self.gains.items() if k != "cls" or self.classes > 1}
        gains = [f"{name} {gain:.3g}" for name, gain in used.items()]
        count = f"{self.classes} class{'es' * (self.classes > 1)}"
        scaling, size = self.config.scaling, f"{self.image_size} px, {count}"
        usual = gain_factors("reference", len(self.strides), self.classes, self.image_size)
        would = [
            f"{name} {value:.3g}"
            for name, factor in usual.items()
            if name in used and (value := getattr(self.config, name) * factor) < self.gains[name]
        ]
        note = f"; YOLOv7's code: {', '.join(would)}" if would else ""
        return f"{' · '.join(gains)} (loss.scaling {scaling}, {size}{note})"

    @torch.no_grad()
    def match(self, raw: Sequence[Tensor], targets: Targets, *, reach: float = NEAREST) -> Matches:
        """Assign predictions to boxes.

        Args:
            raw: As in :meth:`forward`; the anchor assigner looks at the shapes only.
            targets: The boxes.
            reach: Which cells around a box take part, as in :mod:`tutelage.losses.assigner`.
        """
        dtype = _working_dtype(raw)
        candidates = anchor_candidates(
            centre_size(targets.xyxy.to(dtype)),
            targets.image,
            anchors=self.anchors.to(dtype),
            strides=self.strides,
            grids=[(level.shape[2], level.shape[3]) for level in raw],
            max_ratio=self.config.anchor_t,
            reach=reach,
        )
        if self.assigner == "anchor":
            return candidates
        places = zip(raw, candidates.places(), strict=True)
        picked = torch.cat([level[place] for level, place in places]).to(dtype)
        box = self._boxes(picked, candidates)
        box[:, :2] += torch.stack((candidates.column, candidates.row), dim=1)
        box *= self.cell[candidates.level, None]
        scores = (picked[:, 5:].sigmoid() * picked[:, 4:5].sigmoid()).sqrt_()
        return simota(candidates, corners(box), scores, targets, images=len(raw[0]), pool=self.pool)

    @torch.no_grad()
    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        """As :meth:`Criterion.answers`; predictions ordered by level, anchor, row, column.

        Of several boxes the last counts, as in the objectness term.
        """
        matches = self.match(raw, targets)
        boxes = matches.target.split(matches.counts)
        levels = zip(raw, matches.places(), boxes, strict=True)
        assigned = [
            last_written(box + 1, place, level.shape[:4]) - 1 for level, place, box in levels
        ]
        return torch.cat([level.flatten(1) for level in assigned], 1)

    def terms(self, raw: Sequence[Tensor], targets: Targets, matches: Matches) -> dict[str, Tensor]:
        """Compute the terms of given matches, without gains.

        Args:
            raw: As in :meth:`forward`.
            targets: The boxes.
            matches: Which predictions are assigned to which of them.

        Returns:
            Scalars ``box``, ``obj`` and ``cls``.
        """
        dtype = _working_dtype(raw)
        places = matches.places()
        picks = [pick(level, place) for level, place in zip(raw, places, strict=True)]
        picked = torch.cat([predictions for predictions, _ in picks]).to(dtype)

        wanted = (
            centre_size(targets.xyxy.to(dtype))[matches.target] / self.cell[matches.level, None]
        )
        wanted[:, :2] -= torch.stack((matches.column, matches.row), dim=1)
        iou = complete_iou(self._boxes(picked, matches), wanted).split(matches.counts)

        logits = picked[:, 5:].split(matches.counts)
        labels = targets.label[matches.target, None].split(matches.counts)
        smooth = self.config.label_smoothing / 2

        box = obj = cls = picked[:0].sum()  # zero, but with a graph
        for i, count in enumerate(matches.counts):
            objectness = picks[i][1].to(dtype)
            quality = last_written(iou[i].detach().clamp(min=0), places[i], objectness.shape)
            obj = obj + self.balance[i] * self._entropy(objectness, quality, self.config.obj_pw)
            if count:
                box = box + (1 - iou[i]).mean()
            if count and self.classes > 1:
                hot = torch.full_like(logits[i], smooth).scatter_(1, labels[i], 1 - smooth)
                cls = cls + self._entropy(logits[i], hot, self.config.cls_pw)
        return {"box": box, "obj": obj, "cls": cls}

    def _boxes(self, picked: Tensor, matches: Matches) -> Tensor:
        """Decode ``(n, 5 + classes)`` logits to cx, cy, w, h in cells, relative to their cell."""
        anchors = self.anchors.to(picked.dtype) / self.cell[:, None, None]
        return decode_cell(picked[:, :4], anchors[matches.level, matches.anchor])

    def _entropy(self, logits: Tensor, target: Tensor, positive_weight: float) -> Tensor:
        """Mean binary cross-entropy; focal (Lin et al., ICCV 2017, arXiv:1708.02002) on demand."""
        weight = None if positive_weight == 1 else logits.new_full((), positive_weight)
        gamma = self.config.fl_gamma
        if gamma == 0:
            return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
        loss = F.binary_cross_entropy_with_logits(
            logits, target, pos_weight=weight, reduction="none"
        )
        score = logits.sigmoid()
        alpha = target * _FOCAL_ALPHA + (1 - target) * (1 - _FOCAL_ALPHA)
        error = target * (1 - score) + (1 - target) * score
        # For gamma < 1 the slope of error^gamma is infinite at zero.
        return (loss * alpha * error.clamp(min=1e-12) ** gamma).mean()

    def _check(self, raw: Sequence[Tensor], image_size: tuple[int, int]) -> None:
        height, width = image_size
        anchors, channels = self.anchors.shape[1], 5 + self.classes
        expected = [
            (anchors, height // stride, width // stride, channels) for stride in self.strides
        ]
        found = [tuple(level.shape[1:]) for level in raw]
        if found != expected:
            raise ValueError(
                f"expected raw outputs (b, anchors, ny, nx, 5 + classes) with {expected} after the "
                f"batch dimension for an image of {height} x {width}, got {found}"
            )


def gain_factors(
    scaling: Literal["auto", "reference", "none"], levels: int, classes: int, image_size: int
) -> dict[str, float]:
    """Return the factors of the gains ``box``, ``obj`` and ``cls``.

    YOLOv7 and YOLOv5 multiply the gains of 640 px and 80 classes by 3 / levels, cls by
    classes / 80, obj by (image_size / 640)^2 besides (``reference``). Made for long trainings:
    with small images and few classes a short one ends before it has learnt what an object is.
    ``auto`` is what docs/benchmarks.md found best: obj is not made smaller, and cls by
    (classes / 10)^2 for fewer than ten. ``none`` takes the gains as they are.
    """
    if scaling == "none":
        return {"box": 1.0, "obj": 1.0, "cls": 1.0}
    by_size, by_classes = (image_size / 640) ** 2, classes / 80
    if scaling == "auto":
        by_size, by_classes = max(by_size, 1.0), max(by_classes, min((classes / FEW) ** 2, 1.0))
    share = 3 / levels
    return {"box": share, "obj": share * by_size, "cls": share * by_classes}


def _working_dtype(raw: Sequence[Tensor]) -> torch.dtype:
    return torch.promote_types(raw[0].dtype, torch.float32)
