"""Objectness-scaled imitation of raw outputs."""

from __future__ import annotations

from torch import Tensor

from tutelage.config.schema import NonNegative
from tutelage.distill.method import Channels, HeightWidth
from tutelage.distill.response import ResponseMethod, require_both
from tutelage.distill.scores import classes_trained
from tutelage.structures import Predictions, Targets


class ObjectnessScaled(ResponseMethod):
    """Imitate objectness everywhere, classes and boxes weighted by the teacher's objectness.

    After Mehta and Ozturk, *Object detection at 200 Frames Per Second*, 2018, arXiv:1805.06361,
    which specifies neither space nor reduction. Here: squared differences of the head's raw
    outputs, each term a mean over images, candidates and outputs, not divided by the sum of the
    weights. Of a teacher without objectness the best class logit is used.

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        objectness: Weight of the objectness.
        classes: Weight of the classes.
        box: Weight of the boxes; both heads must have the same box encoding.

    A weight of 0 leaves its term out.

    Raises:
        ValueError: All three weights are 0.
    """

    paper = "Mehta and Ozturk, 2018, arXiv:1805.06361"
    ratio = 2.0

    def __init__(
        self,
        channels: Channels,
        *,
        objectness: NonNegative = 1.0,
        classes: NonNegative = 1.0,
        box: NonNegative = 1.0,
    ) -> None:
        super().__init__(channels)
        if not any((objectness, classes, box)):
            raise ValueError("objectness, classes and box are all 0: nothing is compared")
        self.weights = {"objectness": objectness, "class": classes, "box": box}

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the terms.

        Raises:
            ValueError: The student has no objectness, one of them no raw box outputs, or there is
                one class and nothing but classes is to be compared.
        """
        t_objectness = teacher.objectness
        if t_objectness is None:
            t_objectness = teacher.logits.amax(-1)
        s_objectness, _ = require_both(student.objectness, t_objectness, "has no objectness")
        scale = t_objectness.sigmoid()[..., None]
        terms = {"objectness": (s_objectness - t_objectness).square().mean()}
        if classes_trained(student):
            terms["class"] = (scale * (student.logits - teacher.logits).square()).mean()
        if self.weights["box"]:
            s_box, t_box = require_both(student.box_raw, teacher.box_raw, "has no raw box outputs")
            terms["box"] = (scale * (s_box - t_box).square()).mean()
        terms = {name: self.weights[name] * terms[name] for name in terms if self.weights[name]}
        if not terms:
            raise ValueError("there is one class, and of one class objectness alone is compared")
        return terms
