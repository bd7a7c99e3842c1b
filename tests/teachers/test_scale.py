"""Knowledge of enlarged images, in the frame of the images themselves."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tutelage.config.schema import LossConfig
from tutelage.distill import METHODS, Pairs, pair
from tutelage.distill.method import Resized
from tutelage.distill.response import comparable_predictions
from tutelage.errors import ConfigError
from tutelage.models.build import load
from tutelage.structures import Knowledge, Predictions, Targets
from tutelage.teachers import NativeTeacher
from tutelage.teachers.scale import (
    canvas_step,
    check_enlarged_size,
    in_student_frame,
    shrink_predictions,
)

NAMES = ["a", "b"]
BOXES = Targets(
    torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([[4.0, 8, 40, 44], [16, 16, 60, 40]])
)
SIZE = (64, 64)
LACKING = {
    "objectness": "the teacher has no raw box outputs",
    "ld": "bins|distribution",
    "crosskd": "the head of yolov5n@0.5 does not follow from layers",  # p3 has no partner
}


def predictions() -> Predictions:
    """Four cells of a coarse level and one of a coarser one, on images of 64 pixels."""
    generator = torch.Generator().manual_seed(0)
    return Predictions(
        xyxy=torch.tensor([[[0.0, 0, 10, 20], [8, 8, 24, 40], [32, 0, 64, 64], [1, 2, 3, 4]]]),
        logits=torch.rand(1, 4, 2, generator=generator),
        objectness=torch.rand(1, 4, generator=generator),
        level=torch.tensor([0, 0, 0, 1]),
        box_raw=torch.rand(1, 4, 4, generator=generator),
        bins=torch.rand(1, 4, 4, 8, generator=generator),
        grids=((1, 3), (1, 1)),
    )


@pytest.mark.parametrize("zoom", [1.5, 2.0])
def test_boxes_shrink_and_what_no_longer_fits_is_gone(zoom: float) -> None:
    large = predictions()
    found = shrink_predictions(large, zoom)
    torch.testing.assert_close(found.xyxy * zoom, large.xyxy)
    assert found.box_raw is None
    assert found._replace(xyxy=large.xyxy, box_raw=large.box_raw) == large


def test_at_the_same_size_nothing_changes() -> None:
    knowledge = Knowledge((torch.rand(1, 2, 3, 3),), predictions(), lambda _: predictions())
    assert in_student_frame(knowledge, 1.0) is knowledge


def test_what_is_missing_stays_missing() -> None:
    features = (torch.rand(1, 2, 3, 3),)
    found = in_student_frame(Knowledge(features), 2.0)
    assert found == Knowledge(features)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    student = load("yolov7-tiny@0.25", names=NAMES).train()
    teacher = load("yolov5n@0.5", names=NAMES).eval()
    return student, teacher


def both(networks, zoom: float, *, resize: bool = False) -> tuple[Knowledge, Knowledge, Pairs]:
    """Knowledge of student and teacher about the same images, and the pairs of their layers."""
    student, network = networks
    pairs = pair(student, network, zoom=zoom, resize=resize)
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(images, scale_factor=zoom, mode="bilinear")
    teacher = NativeTeacher(network, [tap.key for tap in pairs.teacher])
    out = student(images, [tap.key for tap in pairs.student])
    criterion = student.head.criterion(LossConfig(), image_size=SIZE[0])
    ours = Knowledge(
        out.taps, student.decode(out.raw, SIZE), answers=partial(criterion.answers, out.raw)
    )
    return ours, in_student_frame(teacher(large, predictions=True), zoom), pairs


def test_paired_maps_have_the_same_cells(networks) -> None:
    ours, theirs, pairs = both(networks, 2.0)
    assert [tap.stride for tap in pairs.student] == [8, 16]
    assert [f.shape[-2:] for f in theirs.features] == [f.shape[-2:] for f in ours.features]


def test_the_head_answers_in_the_student_frame(networks) -> None:
    teacher = NativeTeacher(networks[1])
    theirs = in_student_frame(teacher(torch.rand(1, 3, 128, 128), predictions=True), 2.0)
    assert theirs.head is not None
    assert theirs.predictions is not None
    again = theirs.head(theirs.features)
    torch.testing.assert_close(again.xyxy, theirs.predictions.xyxy, rtol=1e-3, atol=1e-3)
    assert again.box_raw is None


@pytest.mark.parametrize("zoom", [1.5, 2.0])
def test_detections_reach_the_candidates_of_their_place(networks, zoom: float) -> None:
    """The teacher sees two boxes of the enlarged images, and nothing else."""
    ours, theirs, _ = both(networks, zoom, resize=True)
    large = Predictions(*(theirs.predictions or predictions()))
    seen = torch.full_like(large.logits[..., 0], -9.0)
    xyxy = torch.zeros_like(large.xyxy)
    for image, box in zip(BOXES.image, BOXES.xyxy, strict=True):
        seen[image, 5], xyxy[image, 5] = 4.0, zoom * box
    large = large._replace(xyxy=xyxy, objectness=seen, logits=torch.full_like(large.logits, 4.0))
    shrunk = Knowledge(theirs.features, shrink_predictions(large, zoom))
    s, t = comparable_predictions(ours, shrunk)
    assert t.xyxy.shape == s.xyxy.shape
    assert t.objectness is not None
    heard = t.objectness > 0
    assert heard.any(1).all()
    for image, box in enumerate(BOXES.xyxy):
        assert (t.xyxy[image][heard[image]] == box).all()


@pytest.mark.parametrize("zoom", [1.5, 2.0])
@pytest.mark.parametrize("name", METHODS)
def test_methods_compare_with_a_teacher_that_sees_more(networks, name: str, zoom: float) -> None:
    ours, theirs, pairs = both(networks, zoom, resize=True)
    torch.manual_seed(0)
    method = METHODS[name](pairs.channels)
    if zoom == 1.5:
        method = Resized(method, pairs.channels)
    if name in LACKING:
        with pytest.raises((ValueError, ConfigError), match=LACKING[name]):
            method(ours, theirs, BOXES, SIZE)
        return
    terms = method(ours, theirs, BOXES, SIZE)
    assert terms
    assert all(torch.isfinite(value) for value in terms.values())
    assert torch.stack(list(terms.values())).sum().requires_grad


@pytest.mark.parametrize(
    ("stride", "teacher_stride", "zoom", "step"),
    [
        (32, 32, 1.0, 32),
        (32, 32, 1.5, 64),
        (32, 32, 2.0, 32),
        (32, 64, 1.0, 64),
        (32, 64, 1.5, 128),
        (32, 64, 2.0, 32),
        (64, 32, 2.0, 64),
        (8, 32, 2.0, 16),
    ],
)
def test_canvas_step(stride: int, teacher_stride: int, zoom: float, step: int) -> None:
    assert canvas_step(stride, teacher_stride, zoom) == step
    fits = [s for s in range(1, 300) if s % stride == 0 and (s * zoom) % teacher_stride == 0]
    assert fits == list(range(step, 300, step))


def test_a_size_that_does_not_fit_is_refused() -> None:
    check_enlarged_size(224, 32, 32, 2)
    check_enlarged_size(256, 32, 32, 1.5)
    with pytest.raises(ConfigError) as caught:
        check_enlarged_size(224, 32, 32, 1.5)
    assert caught.value.code == "C17"
    assert str(caught.value) == (
        "--img-size 224 must be a multiple of 64: the teacher sees images 1.5 × as large, whose "
        "sides must be multiples of 32. Nearest: 192 or 256."
    )
    with pytest.raises(ConfigError, match=r"Nearest: 64\."):
        check_enlarged_size(32, 32, 32, 1.5)
