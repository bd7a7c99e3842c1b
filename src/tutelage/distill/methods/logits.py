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
    """Imitate the teacher's class probabilities, weighted by its scores.

    Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015, arXiv:1503.02531, in the
    form for sigmoids: the divergence of two Bernoulli distributions, which is the cross-entropy
    minus the teacher's entropy. A sum over classes and a mean over the candidates of all images,
    weighted by the teacher's score, of which objectness is a factor: class outputs of such heads
    are untrained where there is no object.

    Args:
        channels: Student and teacher channels per pair of maps; not used.
        temperature: Divides the logits; the loss is multiplied by its square.
        form: ``sigmoid``: as above. ``softmax``: the divergence of softmaxes over the classes, a
            sum over classes and candidates and a mean over images, as published for classifiers.
            It ignores the teacher's scores, so that it is incomplete for heads of sigmoids.
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
        self.from_store = "best" if form == "sigmoid" else "all"

    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the term.

        Raises:
            ValueError: There is one class, whose score is the objectness, or whose softmax is
                always 1.
        """
        if not classes_trained(student):
            raise ValueError("there is one class, and of one class objectness alone is compared")
        s, t = student.logits / self.temperature, teacher.logits / self.temperature
        if self.form == "softmax":
            if s.shape[-1] == 1:
                raise ValueError("there is one class, and a softmax over one class is always 1")
            log_s, log_t = (F.log_softmax(x, -1) for x in (s, t))
            total = F.kl_div(log_s, log_t, reduction="sum", log_target=True)
            return {"class": self.temperature**2 / len(s) * total}
        divergence = sigmoid_divergence(s, t).sum(-1)
        value = weighted_mean(divergence, candidate_scores(teacher))
        return {"class": self.temperature**2 * value}


def sigmoid_divergence(s: Tensor, t: Tensor) -> Tensor:
    """Return elementwise KL(σ(t) ‖ σ(s)) of two logits."""
    probability = t.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(s, probability, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(t, probability, reduction="none")
    return cross_entropy - entropy
