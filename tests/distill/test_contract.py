"""What every method of maps keeps to, whatever it computes.

Those that read predictions as well are in test_response.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.distill.describing import assert_described
from tests.distill.fake_networks import CHANNELS, NO_BOXES, SIZE, SOME_BOXES, knowledge
from tutelage.distill.method import Method, Need
from tutelage.distill.methods import METHODS
from tutelage.structures import Knowledge, Targets

STUDENT, TEACHER = (tuple(widths) for widths in zip(*CHANNELS, strict=True))

Terms = dict[str, Tensor]

# Where a method differs by construction from what the others have in common:
NOT_ZERO = {
    "mgd": "compares what the generator makes of a map",
    "defeat": "has a convolution between equal widths, too",
}
REACHED = {"mgd": 0.2}  # at least, of the student's cells; blanked ones, 65 %, get no gradient
UNMASKED = {"mgd": {"lam": 0.0}}  # each image has its own mask: no copy looks like its original
DOUBLED = {  # factor and tolerance where not 1 and 1e-5
    "fgd": (1.0, 0.05),  # as pkd
    "pkd": (1.0, 0.02),  # (1 - 1/2n) / (1 - 1/n) per level by the unbiased deviation, n = 30, 120
    "spkd": (0.5, 1e-5),  # rows of norm one have twice the entries
}


def build(name: str, channels: tuple[tuple[int, int], ...] = CHANNELS, **options: float) -> Method:
    """Make a method whose own parameters are drawn at random: some start at zero."""
    torch.manual_seed(0)
    method = METHODS[name](channels, **options)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return method


def leaves(knowledge: Knowledge) -> Knowledge:
    return Knowledge(tuple(feature.requires_grad_() for feature in knowledge.features))


def call(method: Method, student: Knowledge, teacher: Knowledge, targets: Targets) -> Terms:
    """Call a method, with the same random numbers at every call."""
    torch.manual_seed(1)
    return method(student, teacher, targets, SIZE)


def total(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()


pytestmark = pytest.mark.parametrize(
    "name", [name for name, kind in METHODS.items() if Need.PREDICTIONS not in kind.needs]
)


@pytest.mark.parametrize("targets", [SOME_BOXES, NO_BOXES], ids=["boxes", "no boxes"])
def test_gradient_reaches_student_and_own_parameters_but_no_teacher(
    name: str, targets: Targets
) -> None:
    method = build(name)
    student, teacher = leaves(knowledge(2, STUDENT, 1)), leaves(knowledge(2, TEACHER, 2))
    terms = call(method, student, teacher, targets)
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
        assert (feature.grad != 0).float().mean() > REACHED.get(name, 0.9)
    assert all(feature.grad is None for feature in teacher.features)
    moving = method.trained_parameters()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        strength = float(parameter.grad.abs().max())
        assert strength > 1e-9 if key in moving else strength < 1e-7, key


def test_still_names_own_parameters(name: str) -> None:
    keys = [key for key, _ in build(name).named_parameters()]
    for ending in METHODS[name].untrained:
        assert sum(key.endswith(ending) for key in keys) == len(CHANNELS), ending


def test_frozen_parameters_are_not_moving(name: str) -> None:
    assert not build(name).requires_grad_(False).trained_parameters()


def test_terms_without_boxes_keep_their_names(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    without = call(method, student, teacher, NO_BOXES)
    assert without.keys() == call(method, student, teacher, SOME_BOXES).keys()


def test_doubling_the_batch_leaves_the_terms(name: str) -> None:
    method = build(name, **UNMASKED.get(name, {}))
    student, teacher = knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    twice = [Knowledge(tuple(f.repeat(2, 1, 1, 1) for f in k.features)) for k in (student, teacher)]
    image, label, xyxy = SOME_BOXES
    doubled = Targets(torch.cat([image, image + 2]), label.repeat(2), xyxy.repeat(2, 1))
    factor, rtol = DOUBLED.get(name, (1.0, 1e-5))
    once = call(method, student, teacher, SOME_BOXES)
    for term, value in call(method, *twice, doubled).items():
        torch.testing.assert_close(value, factor * once[term], rtol=rtol, atol=0)


def test_identical_features_give_zero(name: str) -> None:
    method = METHODS[name]([(8, 8), (7, 7)])
    features = knowledge(2, (8, 7), 3)
    for term, value in call(method, leaves(features), features, SOME_BOXES).items():
        assert (value.item() > 0) if name in NOT_ZERO else (value.item() == 0), term


def test_different_features_give_positive_terms(name: str) -> None:
    terms = call(build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2), SOME_BOXES)
    assert all(value > 0 for value in terms.values())


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("dead", ["student", "teacher", "both", "a channel of both"])
def test_constant_channels_are_harmless(name: str, dead: str, images: int) -> None:
    method = build(name)
    maps = {"student": knowledge(images, STUDENT, 1), "teacher": knowledge(images, TEACHER, 2)}
    for who, known in maps.items():
        for feature in known.features:
            if dead == "a channel of both":
                feature[:, 1] = 0.1
            elif dead in (who, "both"):
                feature.fill_(0)
    student = leaves(maps["student"])
    terms = call(method, student, maps["teacher"], NO_BOXES)
    total(terms).backward()
    for value in terms.values():
        assert value.isfinite()
        assert value.requires_grad
    for x in (*student.features, *method.parameters()):
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_features_give_the_float32_number(name: str, dtype: torch.dtype) -> None:
    method = build(name)
    halves = [knowledge(2, widths, 4, dtype) for widths in (STUDENT, TEACHER)]
    floats = [Knowledge(tuple(f.float() for f in half.features)) for half in halves]
    expected = call(method, *floats, SOME_BOXES)
    for term, value in call(method, *halves, SOME_BOXES).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[term], rtol=1e-6, atol=0)


def test_autocast_changes_nothing(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    expected = call(method, student, teacher, SOME_BOXES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = call(method, student, teacher, SOME_BOXES)
    for term, value in actual.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[term])


def test_large_half_features_stay_finite(name: str) -> None:
    halves = [
        Knowledge(tuple(feature * 300 for feature in knowledge(2, widths, 4, torch.float16)[0]))
        for widths in (STUDENT, TEACHER)
    ]
    terms = call(build(name), *halves, SOME_BOXES).values()
    assert all(v.isfinite() and v.dtype == torch.float32 for v in terms)


def test_float64_stays(name: str) -> None:
    method = build(name).double()
    double = [knowledge(2, widths, 5, torch.float64) for widths in (STUDENT, TEACHER)]
    assert all(v.dtype == torch.float64 for v in call(method, *double, SOME_BOXES).values())


def test_float32_is_precise_enough(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    actual = call(method, student, teacher, SOME_BOXES)
    double = [Knowledge(tuple(f.double() for f in k.features)) for k in (student, teacher)]
    for term, value in call(method.double(), *double, SOME_BOXES).items():
        torch.testing.assert_close(actual[term].double(), value, rtol=1e-5, atol=0)


def test_memory_format_does_not_matter(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    expected = call(method, student, teacher, SOME_BOXES)
    plain = [Knowledge(tuple(f.contiguous() for f in k.features)) for k in (student, teacher)]
    for term, value in call(method, *plain, SOME_BOXES).items():
        torch.testing.assert_close(value, expected[term], rtol=1e-5, atol=0)


def test_state_dict_round_trip(name: str) -> None:
    method, student, teacher = build(name), knowledge(2, STUDENT, 1), knowledge(2, TEACHER, 2)
    other = METHODS[name](CHANNELS)
    other.load_state_dict(method.state_dict())
    expected = call(method, student, teacher, SOME_BOXES)
    actual = call(other, student, teacher, SOME_BOXES)
    assert all(torch.equal(actual[term], value) for term, value in expected.items())


def test_describes_itself(name: str) -> None:
    kind = METHODS[name]
    assert kind.needs == Need.FEATURES
    assert_described(kind)
