"""Imitation of class probabilities."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from tutelage.config.schema import Positive
from tutelage.distill.method import Channels, HeightWidth
from tutelage.distill.response import ResponseMethod
from tutelage.distill.scores import candidate_scores, classes_trained, weighted_mean
from tutelage.structures import Predictions, Targets


class ClassLogits(ResponseMethod):
    """Imitate the teacher's class probabilities, as far as it sees an object.

    Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015, arXiv:1503.02531, in the
    form for sigmoids: the divergence of two coin flips, which is the cross-entropy minus the
    teacher's entropy, 0 when they agree. A sum over classes and a mean over the candidates of all
    images, weighted by the teacher's score. With objectness the score holds it as a factor: what
    such a head says of classes was never trained where there is no object.

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        temperature: Divides the logits; the loss is multiplied by its square.
        form: ``sigmoid``: as above. ``softmax``: the divergence of softmaxes over the classes, a
            sum over classes and candidates and a mean over images, as published for classifiers.
            It does not say how sure the teacher is, nor where: for heads of sigmoids it is no
            complete lesson.

    Raises:
        ValueError: There is nothing to compare in one class.
    """

    paper = "Hinton et al., 2015, arXiv:1503.02531"

    def __init__(
        self,
        channels: Channels,
        *,
        temperature: Positive = 1.0,
        form: Literal["sigmoid", "softmax"] = "sigmoid",
    ) -> None:
        super().__init__(channels)
        self.temperature = temperature
        self.form: Literal["sigmoid", "softmax"] = form

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term.

        Raises:
            ValueError: There is one class, which these heads tell by objectness, or of which a
                softmax says nothing.
        """
        if not classes_trained(student):
            raise ValueError("there is one class, and of one class objectness alone is compared")
        s, t = student.logits / self.temperature, teacher.logits / self.temperature
        if self.form == "softmax":
            if s.shape[-1] == 1:
                raise ValueError("there is one class, and a softmax over one class is always 1")
            ours, theirs = (F.log_softmax(x, -1) for x in (s, t))
            total = F.kl_div(ours, theirs, reduction="sum", log_target=True)
            return {"class": self.temperature**2 / len(s) * total}
        divergence = sigmoid_divergence(s, t).sum(-1)
        value = weighted_mean(divergence, candidate_scores(teacher))
        return {"class": self.temperature**2 * value}


def sigmoid_divergence(s: Tensor, t: Tensor) -> Tensor:
    """Return elementwise KL(σ(t) ‖ σ(s)) of two logits."""
    wanted = t.sigmoid()
    cross = F.binary_cross_entropy_with_logits(s, wanted, reduction="none")
    return cross - F.binary_cross_entropy_with_logits(t, wanted, reduction="none")
