"""The divergences and the region that response methods are made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.distill.fake_networks import NO_BOXES, SIZE
from tutelage.distill.methods.bckd import BCKD
from tutelage.distill.methods.ld import (
    cell_anchors,
    softmax_divergence,
    valuable_region,
    valuable_regions,
)
from tutelage.distill.methods.logits import ClassLogits
from tutelage.distill.response import at_known
from tutelage.structures import Knowledge, Predictions, Targets


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


def test_the_valuable_regions_of_a_batch_are_those_of_its_images() -> None:
    """Anchors are squares of eight cells around the cells; the second image has no boxes."""
    grids = ((8, 12), (4, 6))
    level = torch.tensor([0] * 96 + [1] * 24)
    cells = Predictions(torch.zeros(3, 120, 4), torch.zeros(3, 120, 2), None, level, grids=grids)
    anchors, counts = cell_anchors(cells, (64, 96))
    assert counts == (96, 24)
    assert anchors[0].tolist() == [-28.0, -28.0, 36.0, 36.0]
    assert anchors[-1].tolist() == [24.0, -8.0, 152.0, 120.0]
    boxes = torch.tensor([[5.0, 9, 60, 50], [30, 2, 90, 60], [10, 10, 40, 44]])
    targets = Targets(torch.tensor([2, 0, 2]), torch.zeros(3).long(), boxes)
    found = valuable_regions(anchors, counts, targets, images=3)
    for image in range(3):
        own = boxes[targets.image == image]
        torch.testing.assert_close(found[image], valuable_region(anchors, counts, own))
    assert found.gt(0).any(1).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="one candidate per cell"):
        cell_anchors(cells._replace(grids=None), (64, 96))


def test_distributions_that_are_certain_have_a_finite_divergence() -> None:
    s = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = softmax_divergence(s, torch.tensor([[-200.0, 200.0], [-200.0, 200.0]]), 1.0)
    assert loss.tolist() == [200.0, 0.0]
    loss.sum().backward()
    assert s.grad is not None
    assert s.grad.isfinite().all()


def make_predictions(seed: int, objectness: bool = True) -> Predictions:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(2, 5, *shape, generator=generator)

    corner, size = random(2), random(2).abs() + 1
    return Predictions(
        xyxy=torch.cat((corner, corner + size), -1),
        logits=random(3),
        objectness=random() if objectness else None,
        level=torch.tensor([0, 0, 0, 1, 1]),
    )


KNOWN = torch.tensor([[True, False, False, False, True], [False, False, True, False, False]])


def test_candidates_that_are_known() -> None:
    student, teacher = make_predictions(0), make_predictions(1)._replace(known=KNOWN)
    s, t = at_known(student, teacher)
    for rows, all_of in ((s, student), (t, teacher)):
        assert torch.equal(rows.xyxy, all_of.xyxy[KNOWN][None])
        assert torch.equal(rows.logits, all_of.logits[KNOWN][None])
        assert torch.equal(rows.objectness, all_of.objectness[KNOWN][None])
        assert rows.level.tolist() == [0, 1, 0]
    everywhere = make_predictions(0, objectness=False), teacher._replace(objectness=None)
    assert at_known(*everywhere) == everywhere
    assert at_known(student, make_predictions(1))[0] is student


def test_background_teaches_nothing_but_its_objectness() -> None:
    student, teacher = make_predictions(0), make_predictions(1)._replace(known=KNOWN)
    method, losses = BCKD(()), []
    for change in (0.0, 1.0):
        background = torch.where(KNOWN[..., None], 0.0, change)
        other = teacher._replace(logits=teacher.logits + background, xyxy=teacher.xyxy + background)
        terms = method(Knowledge((), student), Knowledge((), other), NO_BOXES, SIZE)
        losses.append({name: float(term) for name, term in terms.items()})
    assert losses[0] == losses[1]
    seen = teacher._replace(objectness=torch.where(KNOWN, teacher.objectness, 5.0))
    changed = method(Knowledge((), student), Knowledge((), seen), NO_BOXES, SIZE)
    assert float(changed["objectness"]) != losses[0]["objectness"]
