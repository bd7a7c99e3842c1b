"""The divergences and the region that response methods are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.distill.fake_networks import NO_BOXES, SIZE
from tutelage.distill.methods.ld import softmax_divergence, valuable_region
from tutelage.distill.methods.logits import ClassLogits
from tutelage.structures import Knowledge, Predictions


def test_class_divergence_and_its_temperature() -> None:
    s, t = (torch.tensor(x, dtype=torch.float64) for x in ([[0.3, -2.0]], [[1.5, 0.5]]))

    def known(logits: Tensor) -> Knowledge:
        level = torch.zeros(1, dtype=torch.int64)
        return Knowledge((), Predictions(torch.zeros(1, 1, 4), logits[None], None, level))

    q, p = (t / 2).sigmoid(), (s / 2).sigmoid()
    expected = 4 * (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).sum()
    method = ClassLogits((), temperature=2.0)
    torch.testing.assert_close(method(known(s), known(t), NO_BOXES, SIZE)["class"], expected)


def test_no_objects_have_no_valuable_region() -> None:
    anchors = torch.rand(20, 4)
    assert torch.equal(valuable_region(anchors, (16, 4), torch.zeros(0, 4)), torch.zeros(20))


def test_distributions_that_are_certain_have_a_finite_divergence() -> None:
    s = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = softmax_divergence(s, torch.tensor([[-200.0, 200.0], [-200.0, 200.0]]), 1.0)
    assert loss.tolist() == [200.0, 0.0]
    loss.sum().backward()
    assert s.grad is not None
    assert s.grad.isfinite().all()
