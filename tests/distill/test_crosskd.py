"""CrossKD: golden values, and that the gradient comes through the teacher's frozen head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.distill.golden import load
from tests.setup.small_tasks import make_batch, make_task
from tutelage.distill.methods import METHODS
from tutelage.distill.methods.bckd import class_loss
from tutelage.distill.methods.crosskd import CrossKD, match_statistics
from tutelage.distill.methods.ld import softmax_divergence
from tutelage.errors import ConfigError
from tutelage.models.build import load as load_model
from tutelage.structures import Knowledge
from tutelage.teachers import NativeTeacher
from tutelage.training.supervision import SupervisedBatch


def test_golden() -> None:
    """A head of two convolutions, classes as in BCKD, distributions over distances."""
    case = load("crosskd_gfl")

    def head(kind: str, feature: Tensor) -> Tensor:
        for part in ("conv", "pred"):
            weight, bias = (case[f"p__{kind}_{part}_{name}"] for name in ("weight", "bias"))
            feature = F.conv2d(feature.relu(), weight, bias, padding=1)
        return feature.permute(0, 2, 3, 1).flatten(0, 2)

    found = {}
    for kind in ("cls", "reg"):
        s = case[f"in__student_{kind}_feat"]
        t = case[f"in__teacher_{kind}_feat"]
        torch.testing.assert_close(match_statistics(s, t), case[f"mid__aligned_{kind}_feat"])
        found[kind] = head(kind, match_statistics(s, t)), head(kind, t)
    use, factor = case["in__label_weight"], case["cfg__avg_factor"]
    classes = (class_loss(*found["cls"], 1.0) * use[..., None]).sum() / factor
    torch.testing.assert_close(classes, case["out__cls_loss"])
    s, t = (x.unflatten(-1, (4, -1)) for x in found["reg"])
    weight = case["mid__reg_weight"]
    sides = softmax_divergence(s, t, 1.0) * s.shape[-1]
    boxes = case["cfg__reg_loss_weight"] * (sides * weight[:, None]).sum() / 4 / weight.sum()
    torch.testing.assert_close(boxes, case["out__reg_loss"])
    (classes + boxes).backward()
    for kind in ("cls", "reg"):
        grad = case[f"in__student_{kind}_feat"].grad
        torch.testing.assert_close(grad, case[f"grad__student_{kind}_feat"])


def test_a_student_with_the_teacher_s_features_has_nothing_to_learn() -> None:
    torch.manual_seed(0)
    network = load_model("yolov7-tiny@0.125", names=("a", "b"))
    known = NativeTeacher(network)(torch.rand(2, 3, 64, 64), predictions=True)
    widths = [f.shape[1] for f in known.features]
    method = CrossKD([(width, width) for width in widths])
    assert not list(method.parameters())
    own = method(Knowledge(known.features), known, make_batch().targets, (64, 64))
    noise = Knowledge(tuple(torch.randn_like(f) for f in known.features))
    other = method(noise, known, make_batch().targets, (64, 64))
    # Not exactly 0: float32 statistics of few cells.
    assert sum(own.values()) < 0.2 * sum(other.values())
    assert all(value > 0 for value in other.values())


def test_the_gradient_comes_through_the_head_and_leaves_it_alone() -> None:
    task, teachers = make_task("crosskd")
    batch = make_batch()
    losses = task(SupervisedBatch(batch, teachers(batch))).distillation
    assert set(losses) == {"crosskd/class", "crosskd/objectness", "crosskd/box"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in task.methods.parameters())
    assert any(p.grad is not None and p.grad.any() for p in task.student.parameters())
    assert all(t.grad is None for _, t in teachers.state())


def test_the_teacher_s_head_must_follow_from_the_taps() -> None:
    torch.manual_seed(0)
    network = load_model("yolov7-tiny@0.125", names=("a", "b"))
    known = NativeTeacher(network, ["57"])(torch.rand(1, 3, 64, 64), predictions=True)
    assert known.head is not None
    with pytest.raises(ConfigError, match="does not follow from layers 57 alone"):
        known.head(known.features)


def test_the_rest_of_a_network_is_the_network() -> None:
    torch.manual_seed(0)
    network = load_model("yolov7-tiny@0.125", names=("a", "b")).eval()
    images = torch.rand(1, 3, 64, 64)
    for taps in (["57", "65", "73"], ["74", "75", "76"]):
        out = network(images, taps)
        again = network.resume(dict(zip(taps, out.taps, strict=True)))
        for one, other in zip(out.raw, again, strict=True):
            torch.testing.assert_close(one, other)


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="nothing is compared"):
        METHODS["crosskd"]([(4, 8)], classes=0, box=0)  # type: ignore[call-arg]


@pytest.mark.parametrize("lacking", ["predictions", "head"])
def test_a_teacher_without_a_head(lacking: str) -> None:
    task, teachers = make_task("crosskd")
    batch = make_batch()
    known = teachers(batch)[0]._replace(**{lacking: None})
    with pytest.raises(ValueError, match=r"the teacher has no (predictions|head)"):
        task(SupervisedBatch(batch, [known]))


def test_a_dead_channel_does_not_explode() -> None:
    torch.manual_seed(0)
    s, t = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    s[:, 1] = 0.7
    s.requires_grad_()
    (match_statistics(s, t) * t).sum().backward()
    assert s.grad is not None
    norms = s.grad.square().sum((0, 2, 3)).sqrt()
    assert float(norms[1]) < 300 * float(norms[0])
