"""Methods that compare predictions, and teachers whose head is another than the student's."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from tests.distill.fake_networks import CHANNELS, NO_BOXES, SIZE
from tests.distill.response_methods import KINDS, build, pair, total
from tutelage.distill.methods.bckd import BCKD
from tutelage.distill.methods.objectness import ObjectnessScaled
from tutelage.distill.response import comparable_predictions
from tutelage.structures import Knowledge, Predictions, Targets


def answering(student: Knowledge) -> Knowledge:
    """Make each candidate answer for the box of its image that it overlaps most."""
    ours = student.predictions
    assert ours is not None

    def answers(boxes: Targets) -> torch.Tensor:
        overlap = torch.stack([box_iou(mine.detach(), boxes.xyxy) for mine in ours.xyxy])
        elsewhere = torch.arange(len(overlap))[:, None] != boxes.image
        best, which = overlap.masked_fill(elsewhere[:, None], 0).max(2)
        return torch.where(best > 0, which, -1)

    return student._replace(answers=answers)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "sl2"])
def test_unequal_heads(name: str) -> None:
    method, student, teacher = build(name), *pair()
    predictions = teacher.predictions
    assert predictions is not None
    fewer = teacher._replace(predictions=predictions._replace(logits=predictions.logits[..., :3]))
    with pytest.raises(ValueError, match="the student has 4 classes, the teacher 3"):
        method(student, fewer, NO_BOXES, SIZE)


@pytest.mark.parametrize("name", ["logits", "iou", "giou", "ciou", "bckd"])
def test_other_candidates_are_matched(name: str) -> None:
    """Once matched with the student's, the order of the teacher's candidates does not matter."""
    method, student, teacher = build(name), *pair()
    p = teacher.predictions
    assert p is not None
    assert p.objectness is not None
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    found = []
    for index in (torch.arange(150), order):
        other = Predictions(
            p.xyxy[:, index], p.logits[:, index], p.objectness[:, index], torch.zeros(150).long()
        )
        found.append(total(method(answering(student), Knowledge((), other), NO_BOXES, SIZE)))
    torch.testing.assert_close(found[0], found[1])
    assert found[0] > 0


def test_candidates_without_cells_are_matched_though_as_many() -> None:
    """The n-th query of two transformers is about other objects."""
    student, teacher = pair()
    ours, theirs = student.predictions, teacher.predictions
    assert ours is not None
    assert theirs is not None
    cells = answering(student)
    assert torch.equal(comparable_predictions(cells, teacher)[1].xyxy, theirs.xyxy)
    queries = cells._replace(predictions=ours._replace(grids=None))
    assert not torch.equal(comparable_predictions(queries, teacher)[1].xyxy, theirs.xyxy)


@pytest.mark.parametrize(("name", "reason"), [("objectness", "raw box"), ("ld", "distribution")])
def test_what_other_candidates_cannot_say(name: str, reason: str) -> None:
    method, student, teacher = build(name), *pair()
    p = teacher.predictions
    assert p is not None
    other = teacher._replace(predictions=p._replace(level=torch.arange(150) // 75))
    with pytest.raises(ValueError, match=reason):
        method(answering(student), other, NO_BOXES, SIZE)
    with pytest.raises(ValueError, match="the student cannot assign boxes to its own"):
        method(student, other, NO_BOXES, SIZE)


def test_bckd_boxes_teach_where_only_the_objectness_differs() -> None:
    student, teacher = pair()
    p = teacher.predictions
    assert student.predictions is not None
    assert p is not None
    assert p.objectness is not None
    logits = student.predictions.logits
    for classes in (4, 1):  # a single class is not trained: its logits say nothing
        found = []
        for shift in (0.0, 3.0):
            mine = student.predictions._replace(
                logits=logits[..., :classes], objectness=p.objectness - shift
            )
            other = p._replace(logits=logits[..., :classes].detach())
            terms = BCKD(CHANNELS, classes=0.0)(
                Knowledge((), mine), Knowledge((), other), NO_BOXES, SIZE
            )
            found.append(terms["box"].item())
        assert found[0] < 1e-6
        assert found[1] > 0.01


def one_class(knowledge: Knowledge) -> Knowledge:
    p = knowledge.predictions
    assert p is not None
    return knowledge._replace(predictions=p._replace(logits=p.logits[..., :1]))


def test_of_one_class_objectness_alone_is_compared() -> None:
    """The class output of such a head was never trained: imitating it would be noise."""
    student, teacher = (one_class(knowledge) for knowledge in pair())
    for name in ("bckd", "objectness", "frs"):
        terms = build(name)(student, teacher, NO_BOXES, SIZE)
        assert terms
        assert "class" not in terms
    with pytest.raises(ValueError, match="objectness alone is compared"):
        build("logits")(student, teacher, NO_BOXES, SIZE)
    with pytest.raises(ValueError, match="objectness alone is compared"):
        ObjectnessScaled(CHANNELS, objectness=0, box=0)(student, teacher, NO_BOXES, SIZE)


def test_what_is_left_out_needs_nothing() -> None:
    student, teacher = pair()
    p = teacher.predictions
    assert p is not None
    without = teacher._replace(predictions=p._replace(box_raw=None))
    assert set(ObjectnessScaled(CHANNELS, box=0)(student, without, NO_BOXES, SIZE)) == {
        "objectness",
        "class",
    }
