from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.distill.fake_networks import CHANNELS, NO_BOXES, SIZE, SOME_BOXES, knowledge
from tutelage.distill import Connector, LevelMethod, Need
from tutelage.distill.method import Resized
from tutelage.distill.methods import FGD, METHODS
from tutelage.structures import Knowledge, Targets


class Mean(LevelMethod):
    """Mean squared error with one scale per level."""

    def make_level(self, channels: int) -> nn.Module:
        return nn.Linear(1, 1, bias=False) if channels == 8 else nn.Identity()

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        self.seen = (s.dtype, t.requires_grad, torch.is_autocast_enabled("cpu"))
        terms = {"all": (s - t).square().mean()}
        return terms | {"wide": module.weight.sum()} if isinstance(module, nn.Linear) else terms


def test_terms_are_summed_over_levels_by_name() -> None:
    method = Mean([(8, 8), (7, 7)])
    student, teacher = knowledge(2, (8, 7), 1), knowledge(2, (8, 7), 2)
    terms = method(student, teacher, NO_BOXES, SIZE)
    expected = [
        (s - t).square().mean() for s, t in zip(student.features, teacher.features, strict=True)
    ]
    torch.testing.assert_close(terms["all"], expected[0] + expected[1])
    assert torch.equal(terms["wide"], method.levels[0].weight.sum())


def test_one_connector_slot_per_level() -> None:
    method = FGD([(5, 5), (4, 6), (3, 3)], standardise=False)
    assert [isinstance(c, Connector) for c in method.connectors] == [True] * 3
    assert [len(list(c.parameters())) for c in method.connectors] == [0, 2, 0]


def test_levels_see_float32_constants_without_autocast() -> None:
    method = Mean(CHANNELS)
    teacher = knowledge(2, (8, 7), 2, torch.float16)
    teacher.features[0].requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method(knowledge(2, (4, 7), 1, torch.bfloat16), teacher, NO_BOXES, SIZE)
    assert method.seen == (torch.float32, False, False)


def test_wrong_number_of_maps() -> None:
    one = Knowledge(knowledge(2, (4, 7), 1).features[:1])
    with pytest.raises(ValueError, match="expected 2 maps of each network, but got 1"):
        FGD(CHANNELS)(one, knowledge(2, (8, 7), 2), NO_BOXES, SIZE)


def test_unequal_grids_are_not_resized_in_silence() -> None:
    student = Knowledge(tuple(f[..., 1:] for f in knowledge(2, (4, 7), 1).features))
    with pytest.raises(ValueError, match=r"pair 0: the student's grid is \(6, 9\)"):
        FGD(CHANNELS)(student, knowledge(2, (8, 7), 2), NO_BOXES, SIZE)


def test_resized_brings_student_maps_to_the_teachers_grids() -> None:
    torch.manual_seed(0)
    inner = FGD(CHANNELS)
    method = Resized(inner, CHANNELS)
    coarse = Knowledge(
        tuple(f[..., ::2, ::2].clone().requires_grad_() for f in knowledge(2, (4, 7), 1).features)
    )
    teacher = knowledge(2, (8, 7), 2)
    terms = method(coarse, teacher, SOME_BOXES, SIZE)
    fine = tuple(
        nn.functional.interpolate(s, t.shape[-2:], mode="bilinear")
        for s, t in zip(coarse.features, teacher.features, strict=True)
    )
    expected = inner(Knowledge(fine), teacher, SOME_BOXES, SIZE)
    assert all(torch.equal(terms[name], value) for name, value in expected.items())
    torch.stack(list(terms.values())).sum().backward()
    assert all(f.grad is not None and f.grad.any() for f in coarse.features)


def test_resized_brings_teacher_maps_to_the_students_grids() -> None:
    inner = METHODS["pkd"](CHANNELS)
    student = knowledge(2, (4, 7), 1)
    fine = Knowledge(
        tuple(
            nn.functional.interpolate(f, scale_factor=2) for f in knowledge(2, (8, 7), 2).features
        )
    )
    terms = Resized(inner, CHANNELS, "teacher")(student, fine, SOME_BOXES, SIZE)
    resized = tuple(
        nn.functional.interpolate(t, s.shape[-2:], mode="bilinear")
        for s, t in zip(student.features, fine.features, strict=True)
    )
    expected = inner(student, Knowledge(resized), SOME_BOXES, SIZE)
    assert torch.equal(terms["correlation"], expected["correlation"])


def test_maps_of_equal_grids_are_not_resized() -> None:
    student, teacher = knowledge(2, (4, 7), 1), knowledge(2, (8, 7), 2)
    for side in ("student", "teacher"):
        inner = FGD(CHANNELS)
        terms = Resized(inner, CHANNELS, side)(student, teacher, SOME_BOXES, SIZE)
        expected = inner(student, teacher, SOME_BOXES, SIZE)
        assert all(torch.equal(terms[name], value) for name, value in expected.items())


def test_resized_is_what_it_wraps() -> None:
    method = Resized(FGD(CHANNELS), CHANNELS)
    assert method.needs is Need.FEATURES
    assert method.paper == FGD.paper
    assert len(method.trained_parameters()) == len(FGD(CHANNELS).trained_parameters())
    assert not any("mask.bias" in key for key in method.trained_parameters())
