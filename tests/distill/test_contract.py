"""What every method of features alone keeps to, whatever it computes.

Methods that read predictions have the same contract in ``test_response.py``.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch
from torch import Tensor

from tests.distill.fakes import CHANNELS, NO_BOXES, SIZE, SOME_BOXES, knowledge
from tutelage.distill.method import Method, Need
from tutelage.distill.methods import METHODS
from tutelage.structures import Knowledge, Targets

STUDENT, TEACHER = (tuple(widths) for widths in zip(*CHANNELS, strict=True))


def build(name: str, channels: tuple[tuple[int, int], ...] = CHANNELS) -> Method:
    """Make a method whose own parameters are drawn at random: some start at zero."""
    torch.manual_seed(0)
    method = METHODS[name](channels)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    method.register_forward_pre_hook(seeded)
    return method


def seeded(*_: object) -> None:
    """Draw the same random masks in every call."""
    torch.manual_seed(0)


def leaves(knowledge: Knowledge) -> Knowledge:
    return Knowledge(tuple(feature.requires_grad_() for feature in knowledge.features))


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


DENSE = {"mgd": 0.2}  # share of the student's values that get a gradient: most are blanked out
OF_THE_BATCH = {
    "mgd": "other masks",
    "pkd": "unbiased deviations: a factor of (n - 1) / n",
    "spkd": "compares the images with each other",
}
GENERATES = {"mgd"}  # the generator is no identity


def every(but: Collection[str] = ()) -> pytest.MarkDecorator:
    names = [name for name, kind in METHODS.items() if kind.needs == Need.FEATURES]
    return pytest.mark.parametrize("name", [name for name in names if name not in but])


@pytest.mark.parametrize("targets", [SOME_BOXES, NO_BOXES], ids=["boxes", "no boxes"])
@every()
def test_gradient_reaches_student_and_own_parameters_but_no_teacher(
    name: str, targets: Targets
) -> None:
    method = build(name)
    student, teacher = leaves(knowledge(2, STUDENT, 1)), leaves(knowledge(2, TEACHER, 2))
    terms = method(student, teacher, targets, SIZE)
    assert terms
    for value in terms.values():
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert value.requires_grad
    total(terms).backward()
    for feature in student.features:
        assert feature.grad is not None
        assert feature.grad.isfinite().all()
        assert (feature.grad != 0).float().mean() > DENSE.get(name, 0.9)
    assert all(feature.grad is None for feature in teacher.features)
    moving = method.moving()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        strength = float(parameter.grad.abs().max())
        assert strength > 1e-9 if key in moving else strength < 1e-7, key


@every()
def test_still_names_own_parameters(name: str) -> None:
    keys = [key for key, _ in build(name).named_parameters()]
    for ending in METHODS[name].still:
        assert sum(key.endswith(ending) for key in keys) == len(CHANNELS), ending


@every()
def test_frozen_parameters_are_not_moving(name: str) -> None:
    assert not build(name).requires_grad_(False).moving()


@every()
def test_terms_without_boxes_keep_their_names(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    without = method(student, teacher, NO_BOXES, SIZE)
    assert without.keys() == method(student, teacher, SOME_BOXES, SIZE).keys()


@every(but=OF_THE_BATCH)
def test_doubling_the_batch_leaves_the_terms(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    twice = [Knowledge(tuple(f.repeat(2, 1, 1, 1) for f in k.features)) for k in (student, teacher)]
    image, label, xyxy = SOME_BOXES
    doubled = Targets(torch.cat([image, image + 2]), label.repeat(2), xyxy.repeat(2, 1))
    once = method(student, teacher, SOME_BOXES, SIZE)
    for term, value in method(*twice, doubled, SIZE).items():
        torch.testing.assert_close(value, once[term], rtol=1e-5, atol=0)


@every(but=GENERATES)
def test_identical_features_give_zero(name: str) -> None:
    method = METHODS[name]([(8, 8), (7, 7)])
    features = knowledge(2, (8, 7), 3)
    for term, value in method(leaves(features), features, SOME_BOXES, SIZE).items():
        assert value.item() == 0, term


@every()
def test_different_features_give_positive_terms(name: str) -> None:
    terms = build(name)(knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2), SOME_BOXES, SIZE)
    assert all(value > 0 for value in terms.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every()
def test_half_features_give_the_float32_number(name: str, dtype: torch.dtype) -> None:
    method = build(name)
    halves = [knowledge(2, widths, 4, dtype) for widths in (STUDENT, TEACHER)]
    floats = [Knowledge(tuple(f.float() for f in half.features)) for half in halves]
    expected = method(*floats, SOME_BOXES, SIZE)
    for term, value in method(*halves, SOME_BOXES, SIZE).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[term], rtol=1e-6, atol=0)


@every()
def test_autocast_changes_nothing(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    expected = method(student, teacher, SOME_BOXES, SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = method(student, teacher, SOME_BOXES, SIZE)
    for term, value in actual.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[term])


@every()
def test_large_half_features_stay_finite(name: str) -> None:
    halves = [
        Knowledge(tuple(feature * 300 for feature in knowledge(2, widths, 4, torch.float16)[0]))
        for widths in (STUDENT, TEACHER)
    ]
    assert all(v.isfinite() for v in build(name)(*halves, SOME_BOXES, SIZE).values())


@every()
def test_float64_stays(name: str) -> None:
    method = build(name).double()
    double = [knowledge(2, widths, 5, torch.float64) for widths in (STUDENT, TEACHER)]
    assert all(v.dtype == torch.float64 for v in method(*double, SOME_BOXES, SIZE).values())


@every()
def test_float32_is_precise_enough(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    actual = method(student, teacher, SOME_BOXES, SIZE)
    double = [Knowledge(tuple(f.double() for f in k.features)) for k in (student, teacher)]
    for term, value in method.double()(*double, SOME_BOXES, SIZE).items():
        torch.testing.assert_close(actual[term].double(), value, rtol=1e-5, atol=0)


@every()
def test_memory_format_does_not_matter(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    expected = method(student, teacher, SOME_BOXES, SIZE)
    plain = [Knowledge(tuple(f.contiguous() for f in k.features)) for k in (student, teacher)]
    for term, value in method(*plain, SOME_BOXES, SIZE).items():
        torch.testing.assert_close(value, expected[term], rtol=1e-5, atol=0)


@every()
def test_state_dict_round_trip(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    other = METHODS[name](CHANNELS)
    other.register_forward_pre_hook(seeded)
    other.load_state_dict(method.state_dict())
    expected = method(student, teacher, SOME_BOXES, SIZE)
    actual = other(student, teacher, SOME_BOXES, SIZE)
    assert all(torch.equal(actual[term], value) for term, value in expected.items())


@every()
def test_describes_itself(name: str) -> None:
    kind = METHODS[name]
    assert kind.paper
    assert kind.needs in Need
    assert kind.__doc__
    assert "sum" in kind.__doc__ or "mean" in kind.__doc__
