"""What a method sees: its maps, its classes, its teacher, its boxes; and picked images."""

from __future__ import annotations

import pytest
import torch

from tutelage.distill import View, best_teacher_per_image, teacher_selection
from tutelage.distill.teacher_selection import detection_quality, select_images
from tutelage.structures import Knowledge, Predictions, Targets

TARGETS = Targets(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]), torch.rand(3, 4))


def known(classes: int = 3) -> Knowledge:
    def head(features: tuple[torch.Tensor | None, ...]) -> Predictions:
        given = torch.tensor([0.0 if f is None else 1.0 for f in features])
        return Predictions(torch.zeros(2, 1, 4), given[:classes].expand(2, 1, -1), None, given)

    logits = torch.arange(classes).float().expand(2, 5, classes)
    maps = tuple(torch.full((2, 1, 2, 2), float(number)) for number in range(3))
    return Knowledge(maps, Predictions(torch.rand(2, 5, 4), logits, None, torch.zeros(5)), head)


def test_everything_by_default() -> None:
    knowledge = known()
    seen = View().of_teacher([knowledge])
    assert seen.features == knowledge.features
    assert seen.predictions is knowledge.predictions
    assert View().of_targets(TARGETS) is TARGETS


def test_maps_and_classes_of_its_own_in_its_order() -> None:
    view = View(1, (2, 0), (1,), ((2, 0), (0, 1)))
    student, teacher = view.of_student(known()), view.of_teacher([known(), known(2)])
    assert [float(f.max()) for f in student.features] == [2.0, 0.0]
    assert [float(f.max()) for f in teacher.features] == [1.0]
    assert student.predictions is not None
    assert teacher.predictions is not None
    assert student.predictions.logits[0, 0].tolist() == [2.0, 0.0]
    assert teacher.predictions.logits[0, 0].tolist() == [0.0, 1.0]


def test_the_head_is_given_its_maps_at_their_places() -> None:
    seen = View(teacher_maps=(2, 0), columns=((0, 1, 2), (2, 1, 0))).of_teacher([known()])
    assert seen.head is not None
    found = seen.head((torch.ones(1), torch.ones(1)))
    assert found.logits[0, 0].tolist() == [1.0, 0.0, 1.0]


def test_boxes_of_classes_that_the_teacher_knows() -> None:
    seen = View(labels=(0, 1)).of_targets(TARGETS)
    assert seen.image.tolist() == [1, 1]
    assert seen.label.tolist() == [0, 1]
    assert torch.equal(seen.xyxy, TARGETS.xyxy[1:])


def test_a_student_is_asked_about_its_own_images_and_classes() -> None:
    asked: list[Targets] = []

    def answers(boxes: Targets) -> torch.Tensor:
        asked.append(boxes)
        return torch.arange(2)[:, None].expand(2, 5)

    student = known()._replace(answers=answers)
    seen = View(columns=((2, 0), (0, 1))).of_student(student)
    left, _, _ = select_images(torch.tensor([1]), seen, known(), TARGETS)
    assert left.answers is not None
    told = left.answers(Targets(torch.tensor([0, 0]), torch.tensor([1, 0]), torch.rand(2, 4)))
    assert asked[0].image.tolist() == [1, 1]
    assert asked[0].label.tolist() == [0, 2]
    assert told.tolist() == [[1] * 5]


def test_only_some_images() -> None:
    knowledge = known()
    student, teacher, targets = select_images(torch.tensor([1]), knowledge, knowledge, TARGETS)
    assert student.features[0].shape[0] == 1
    assert teacher.predictions is not None
    assert knowledge.predictions is not None
    assert torch.equal(teacher.predictions.xyxy[0], knowledge.predictions.xyxy[1])
    assert targets.image.tolist() == [0, 0]
    assert torch.equal(targets.xyxy, TARGETS.xyxy[1:])


def test_an_image_is_left_to_the_teacher_that_finds_its_boxes() -> None:
    box, off = [10.0, 10, 20, 20], [50.0, 50, 60, 60]
    targets = Targets(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([box, box]))

    def sees(first: list[float], second: list[float], label: int) -> Predictions:
        logits = torch.full((3, 1, 2), -9.0)
        logits[:, :, label] = 2.0
        xyxy = torch.tensor([[first], [second], [off]])
        return Predictions(xyxy, logits, None, torch.zeros(1))

    straight = [0, 1]
    good, bad = sees(box, off, 0), sees(off, box, 1)
    assert best_teacher_per_image([good, bad], [straight] * 2, targets).tolist() == [0, 1, 0]
    swapped = good._replace(logits=good.logits.flip(-1))
    assert best_teacher_per_image([bad, swapped], [straight, [1, 0]], targets).tolist() == [1, 0, 0]
    ignorant = [straight, [-1, 1]]  # the second teacher does not know class 0
    assert best_teacher_per_image([bad, swapped], ignorant, targets).tolist() == [0, 0, 0]


def test_an_image_without_boxes_is_left_to_the_least_sure() -> None:
    none = Targets(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0, 4))

    def sure(logit: float) -> Predictions:
        return Predictions(torch.rand(2, 3, 4), torch.full((2, 3, 1), logit), None, torch.zeros(3))

    assert best_teacher_per_image([sure(0.0), sure(-3.0)], [[0], [0]], none).tolist() == [1, 1]


def test_worth_of_one_class_is_objectness_and_many_boxes_are_looked_at_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    corner = torch.rand(2, 6, 2) * 20
    seen = Predictions(
        torch.cat((corner, corner + 10), -1),
        torch.full((2, 6, 1), -4.0),  # never trained: of no account
        torch.randn(2, 6),
        torch.zeros(6),
    )
    boxes = seen.xyxy[torch.arange(2).repeat_interleave(5), torch.arange(5).repeat(2)]
    targets = Targets(torch.arange(2).repeat_interleave(5), torch.zeros(10).long(), boxes)
    whole = detection_quality(seen, [0], targets)
    assert float(whole.max()) > 0.3
    monkeypatch.setattr(teacher_selection, "CHUNK_BOXES", 3)
    torch.testing.assert_close(detection_quality(seen, [0], targets), whole)
