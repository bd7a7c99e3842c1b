"""The detection loss of D-FINE (Peng et al., ICLR 2025), from the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from tutelage.losses.boxes import at_least_float32, centre_size
from tutelage.losses.criterion import Criterion
from tutelage.structures import Targets

TERMS = ("vfl", "bbox", "giou", "fgl", "ddf")


class QueryOutputs(NamedTuple):
    """What a layer says of its queries, and how it is packed into one tensor.

    Attributes:
        logits: ``(b, q, c)`` of the classes.
        box: ``(b, q, 4)`` centre and size, as shares of the canvas.
        canvas: ``(b, q, 2)`` width and height of the canvas in pixels.
        reference: ``(b, q, 4)`` the box from whose sides the distributions count; may be empty.
        bins: ``(b, q, 4 r)`` logits of the distributions; may be empty.
    """

    logits: Tensor
    box: Tensor
    canvas: Tensor
    reference: Tensor
    bins: Tensor

    @classmethod
    def unpack(cls, packed: Tensor, classes: int) -> Self:
        """Take apart what :meth:`pack` returned."""
        rest = packed.shape[-1] - classes - 6
        return cls(*packed.split((classes, 4, 2, min(rest, 4), max(rest - 4, 0)), -1))

    def pack(self) -> Tensor:
        """Return all as one tensor, at least in float32."""
        return torch.cat([at_least_float32(each) for each in self], -1)


class DFineCriterion(Criterion):
    """The terms of D-FINE's loss, summed over the layers of its decoder.

    In each layer every box is assigned to one query, by the library's Hungarian matcher:

    - ``vfl``: varifocal loss of the classes, the target is the IoU;
    - ``bbox``, ``giou``: L1 distance, as a share of the canvas, and 1 - generalised IoU;
    - ``fgl``: cross-entropy of the distributions of all layers of the decoder, weighted by the IoU;
    - ``ddf``: divergence of the earlier layers' distributions from the last.

    All are divided by the number of boxes. The library computes them. What it is given is laid out
    as in the paper: its own model leaves the last layer without ``fgl``, compares each layer's
    distributions with the boxes of the one before, and trains no classes of the last layer but one.
    Computed in float32 whatever autocast says. The state dict is empty.

    Args:
        config: The configuration of the library.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers.loss.loss_d_fine import DFineLoss

        self.classes: int = config.num_labels
        self._library = (DFineLoss(config),)  # a tuple: it has a state, which is constant

    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compute the terms of a batch.

        Args:
            raw: :class:`QueryOutputs` of the last layer, of the earlier ones, of the boxes before
                the first, and of the encoder.
            targets: The boxes, in pixels of the canvas.
            image_size: Not used: the outputs say it.
        """
        del image_size
        last, *others = (QueryOutputs.unpack(packed, self.classes) for packed in raw)
        final = _layer(last, last)
        final["auxiliary_outputs"] = [_layer(each, last) for each in others]
        with torch.autocast(raw[0].device.type, enabled=False):
            found = self._loss(raw[0])(final, _labels(targets, last))
        return {
            term: torch.stack([x for key, x in found.items() if _term(key) == term]).sum()
            for term in TERMS
        }

    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        """As :meth:`Criterion.answers`: of the last layer, by the library's matcher."""
        last = QueryOutputs.unpack(raw[0], self.classes)
        found = torch.full(raw[0].shape[:2], -1, device=raw[0].device)
        with torch.autocast(raw[0].device.type, enabled=False):
            matches = self._loss(raw[0]).matcher(_layer(last, last), _labels(targets, last))
        for image, (query, number) in enumerate(matches):
            rows = (targets.image == image).nonzero()[:, 0]
            found[image, query.to(rows.device)] = rows[number.to(rows.device)]
        return found

    def _loss(self, like: Tensor) -> Any:
        return self._library[0].to(like.device)


def _term(key: str) -> str:
    return key.removeprefix("loss_").partition("_")[0]


def _layer(outputs: QueryOutputs, last: QueryOutputs) -> dict[str, Any]:
    """Return the outputs of a layer as the library names them."""
    named: dict[str, Any] = {"logits": outputs.logits, "pred_boxes": outputs.box.clamp(0, 1)}
    if outputs.bins.shape[-1]:
        named |= {"pred_corners": outputs.bins, "ref_points": outputs.reference}
        named |= {"teacher_corners": last.bins.detach(), "teacher_logits": last.logits.detach()}
    return named


def _labels(targets: Targets, outputs: QueryOutputs) -> list[dict[str, Tensor]]:
    """Return the boxes of each image as the library wants them: shares of the canvas."""
    width_height = outputs.canvas[0, 0].detach()
    boxes = centre_size(targets.xyxy.to(outputs.box)) / torch.cat((width_height, width_height))
    of_image = (targets.image == image for image in range(len(outputs.box)))
    return [{"class_labels": targets.label[rows], "boxes": boxes[rows]} for rows in of_image]
