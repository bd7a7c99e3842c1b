"""What methods that compare predictions keep to, and what each of them does of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.distill.describing import assert_described
from tests.distill.fake_networks import CHANNELS, NO_BOXES, SIZE, SOME_BOXES
from tests.distill.response_methods import (
    BOX,
    CLASSES,
    KINDS,
    MAPS,
    OBJECTNESS,
    READS,
    STUDENT,
    TEACHER,
    Known,
    build,
    each,
    pair,
    total,
)
from tutelage.distill.method import Need, Resized
from tutelage.distill.methods import METHODS
from tutelage.distill.methods.bckd import BCKD
from tutelage.distill.methods.crosskd import CrossKD
from tutelage.distill.methods.frs import FRS
from tutelage.distill.methods.objectness import ObjectnessScaled
from tutelage.distill.response import ResponseMethod
from tutelage.distill.scores import weighted_mean
from tutelage.structures import Predictions, Targets

every = pytest.mark.parametrize("name", KINDS)


def test_every_registered_method_of_predictions_is_here() -> None:
    here = {type(build(name)) for name in KINDS}
    assert here == {kind for kind in METHODS.values() if Need.PREDICTIONS in kind.needs} - {
        CrossKD
    }  # has tests of its own


@every
@pytest.mark.parametrize("targets", [SOME_BOXES, NO_BOXES], ids=["boxes", "no boxes"])
def test_gradient_reaches_what_is_compared_and_no_teacher(name: str, targets: Targets) -> None:
    method, student, teacher = build(name), Known(STUDENT, 1), Known(TEACHER, 2)
    terms = method(student.knowledge, teacher.knowledge, targets, SIZE)
    assert terms
    for value in terms.values():
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert value > 0
        assert value.requires_grad
    total(terms).backward()
    for leaf in student.leaves:
        assert leaf.grad is None or leaf.grad.isfinite().all()
    for level in student.raw:
        for part in (BOX, OBJECTNESS, CLASSES):
            moved = 0.0 if level.grad is None else (level.grad[..., part] != 0).float().mean()
            # Disjoint boxes have no gradient of IoU, nested ones none of GIoU in their centres.
            assert moved > 0.5 if part in READS[name] else moved == 0
    assert (student.bins.grad is not None) == (name == "ld")
    for feature in student.knowledge.features:
        assert (feature.grad is not None) == (name in MAPS)
    for parameter in method.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 1e-9
    assert bool(list(method.parameters())) == (name in MAPS)
    assert all(leaf.grad is None for leaf in teacher.leaves)


@every
def test_doubling_the_batch_leaves_the_terms(name: str) -> None:
    method, student, teacher = build(name), *pair()
    twice = [each(k, lambda x: torch.cat([x, x])) for k in (student, teacher)]
    once = method(student, teacher, NO_BOXES, SIZE)
    for term, value in method(*twice, NO_BOXES, SIZE).items():
        torch.testing.assert_close(value, once[term], rtol=1e-5, atol=0)


@every
@pytest.mark.parametrize("sure", [-200.0, 200.0], ids=["nothing", "all"])
def test_extreme_teachers_are_harmless(name: str, sure: float) -> None:
    student, (_, teacher) = Known(STUDENT, 1), pair()
    assert teacher.predictions is not None
    logits = torch.full_like(teacher.predictions.logits, sure)
    extreme = teacher.predictions._replace(logits=logits, objectness=logits[..., 0])
    terms = build(name)(student.knowledge, teacher._replace(predictions=extreme), NO_BOXES, SIZE)
    total(terms).backward()
    assert total(terms).isfinite()
    for leaf in student.leaves:
        assert leaf.grad is None or leaf.grad.isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_gives_the_float32_number(name: str, dtype: torch.dtype) -> None:
    method = build(name)
    halves = [each(k, lambda x: x.to(dtype)) for k in pair()]
    expected = method(*(each(k, Tensor.float) for k in halves), NO_BOXES, SIZE)
    for term, value in method(*halves, NO_BOXES, SIZE).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[term], rtol=1e-6, atol=0)


@every
def test_autocast_changes_nothing(name: str) -> None:
    method, student, teacher = build(name), *pair()
    expected = method(student, teacher, NO_BOXES, SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = method(student, teacher, NO_BOXES, SIZE)
    assert all(torch.equal(value, expected[term]) for term, value in actual.items())


class Seen(ResponseMethod):
    """Notes what it is given."""

    def compare(
        self,
        student: Predictions,
        teacher: Predictions,
        targets: Targets,
        image_size: tuple[int, int],
    ) -> dict[str, Tensor]:
        fields = (student.xyxy, student.objectness, teacher.logits, teacher.bins)
        self.dtypes = {x.dtype for x in fields if x is not None}
        self.graph = (student.xyxy.requires_grad, teacher.xyxy.requires_grad)
        self.autocast = torch.is_autocast_enabled("cpu")
        return {"box": student.xyxy.sum()}


def test_compare_sees_float32_constants_without_autocast() -> None:
    student, teacher = pair(torch.bfloat16)
    method = Seen(CHANNELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method(student, teacher, NO_BOXES, SIZE)
    assert method.dtypes == {torch.float32}
    assert method.graph == (True, False)
    assert not method.autocast


def test_frs_compares_classes_without_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def noted(values: Tensor, weights: Tensor) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return weighted_mean(values, weights)

    monkeypatch.setattr("tutelage.distill.methods.frs.weighted_mean", noted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        build("frs")(*pair(), NO_BOXES, SIZE)
    assert seen == [False] * 4


@every
def test_float64_stays_and_float32_is_precise_enough(name: str) -> None:
    method, student, teacher = build(name), *pair()
    single = method(student, teacher, NO_BOXES, SIZE)
    double = [each(k, Tensor.double) for k in (student, teacher)]
    for term, value in method.double()(*double, NO_BOXES, SIZE).items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(single[term].double(), value, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in MAPS])
def test_equal_predictions_give_zero(name: str) -> None:
    same = Known(STUDENT, 3).knowledge
    for term, value in build(name)(same, same, NO_BOXES, SIZE).items():
        assert value.abs().item() < 1e-5, term


@every
def test_describes_itself(name: str) -> None:
    kind = type(build(name))
    maps = Need.FEATURES if name in MAPS else Need(0)
    classes = Need(0) if name == "sl2" else Need.CLASSES
    bins = Need.DISTRIBUTIONS if name == "ld" else Need(0)
    assert kind.needs == maps | classes | bins | Need.PREDICTIONS
    assert_described(kind)


@every
@pytest.mark.parametrize("who", ["student", "teacher"])
def test_missing_predictions(name: str, who: str) -> None:
    known = dict(zip(("student", "teacher"), pair(), strict=True))
    known[who] = known[who]._replace(predictions=None)
    if (name, who) == ("sl2", "student"):  # it reads the teacher's scores only
        build(name)(known["student"], known["teacher"], NO_BOXES, SIZE)
        return
    with pytest.raises(ValueError, match=f"the {who} has no predictions"):
        build(name)(known["student"], known["teacher"], NO_BOXES, SIZE)


@pytest.mark.parametrize("name", MAPS)
def test_half_maps_of_the_teacher_under_autocast(name: str) -> None:
    method = build(name)
    student, teacher = pair()
    half = teacher._replace(features=tuple(x.half() for x in teacher.features))
    whole = teacher._replace(features=tuple(x.float() for x in half.features))
    expected = method(student, whole, SOME_BOXES, SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = method(student, half, SOME_BOXES, SIZE)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", MAPS)
def test_maps_that_are_not_the_levels(name: str) -> None:
    student, teacher = pair()
    finer = (
        k._replace(features=tuple(f.repeat_interleave(2, -1) for f in k.features))
        for k in (student, teacher)
    )
    with pytest.raises(ValueError, match="compare the maps that the head reads"):
        build(name)(*finer, NO_BOXES, SIZE)


@pytest.mark.parametrize("name", MAPS)
def test_some_of_the_levels_are_enough(name: str) -> None:
    student, teacher = (k._replace(features=k.features[1:]) for k in pair())
    torch.manual_seed(0)
    coarse = build(name, CHANNELS[1:])(student, teacher, NO_BOXES, SIZE)["feature"]
    assert coarse > 0
    assert teacher.predictions is not None
    first = teacher.predictions.level == 0
    quiet = teacher.predictions.logits.masked_fill(first[:, None], -50.0)
    other = teacher._replace(predictions=teacher.predictions._replace(logits=quiet))
    torch.manual_seed(0)
    again = build(name, CHANNELS[1:])(student, other, NO_BOXES, SIZE)["feature"]
    torch.testing.assert_close(again, coarse)  # the other level's scores do not matter


@pytest.mark.parametrize("name", MAPS)
def test_score_decides_where_maps_are_compared(name: str) -> None:
    _, teacher = pair()
    predictions = teacher.predictions
    assert predictions is not None
    logits = torch.full_like(predictions.logits, -100.0)
    logits[0, 7] = 0.0  # level 0, anchor 0, row 0, column 7
    logits[1, 149] = 0.0  # level 1, last anchor, last row and column
    teacher = teacher._replace(predictions=predictions._replace(logits=logits, objectness=None))
    leaves = Known(STUDENT, 1).knowledge
    (terms := build(name)(leaves, teacher, NO_BOXES, SIZE))["feature"].backward()
    first, second = (leaf.grad.abs().sum(1) for leaf in leaves.features)
    radius = 1 if name == "frs" else 0  # of its 3×3 connector
    assert set(first.nonzero()[:, 2].tolist()) == set(range(7 - radius, 8 + radius))
    assert first[1].max() < 1e-20
    assert second[1, -1, -1] > 0
    assert second[0].max() < 1e-20
    assert terms["feature"] > 0


def test_resized_maps_keep_the_teachers_scores() -> None:
    method = Resized(build("sl2"), CHANNELS)
    student, teacher = pair()
    coarse = student._replace(features=(student.features[0][..., ::2, ::2], student.features[1]))
    assert method(coarse, teacher, NO_BOXES, SIZE)["feature"] > 0
    assert Need.PREDICTIONS in method.needs


def test_candidates_without_object_teach_no_classes() -> None:
    student, (_, teacher) = Known(STUDENT, 1), pair()
    assert teacher.predictions is not None
    objectness = torch.full((2, 150), -40.0)
    objectness[1, 5] = 3.0
    seen = teacher._replace(predictions=teacher.predictions._replace(objectness=objectness))
    total(build("logits")(student.knowledge, seen, NO_BOXES, SIZE)).backward()
    pulls = student.raw[0].grad[..., CLASSES].abs().amax(-1).flatten(1)
    assert pulls[1, 5] > 1e-2
    pulls[1, 5] = 0
    assert pulls.max() < 1e-10


def test_a_teacher_without_objectness_stands_in_with_its_best_class() -> None:
    method, student, teacher = build("objectness"), *pair()
    assert teacher.predictions is not None
    best = teacher.predictions.logits.amax(-1)
    without, stated = (
        teacher._replace(predictions=teacher.predictions._replace(objectness=objectness))
        for objectness in (None, best)
    )
    expected = method(student, stated, NO_BOXES, SIZE)
    assert method(student, without, NO_BOXES, SIZE) == expected
    with pytest.raises(ValueError, match="the student has no objectness"):
        method(without, stated, NO_BOXES, SIZE)


def test_boxes_can_be_compared_raw_only_where_both_have_them() -> None:
    method, student, teacher = build("objectness"), *pair()
    assert teacher.predictions is not None
    decoded = teacher._replace(predictions=teacher.predictions._replace(box_raw=None))
    with pytest.raises(ValueError, match="the teacher has no raw box outputs"):
        method(student, decoded, NO_BOXES, SIZE)


def test_localisation_needs_bins() -> None:
    method, student, teacher = build("ld"), *pair()
    assert teacher.predictions is not None
    predictions = teacher.predictions
    anchor = teacher._replace(predictions=predictions._replace(bins=None))
    with pytest.raises(ValueError, match="the teacher predicts one value per side of a box, as th"):
        method(student, anchor, NO_BOXES, SIZE)
    fewer = teacher._replace(predictions=predictions._replace(bins=predictions.bins[..., :4]))
    with pytest.raises(ValueError, match="the student has 5 bins, the teacher 4"):
        method(student, fewer, NO_BOXES, SIZE)


def test_a_weight_of_zero_leaves_its_term_out() -> None:
    student, teacher = pair()
    methods = {
        ObjectnessScaled(CHANNELS, box=0.0): {"objectness", "class"},
        ObjectnessScaled(CHANNELS, objectness=0.0, classes=0.0): {"box"},
        BCKD(CHANNELS, classes=0.0): {"box"},
        BCKD(CHANNELS, box=0.0): {"class", "objectness"},
        FRS(CHANNELS, classes=0.0): {"feature"},
    }
    for method, terms in methods.items():
        assert method(student, teacher, NO_BOXES, SIZE).keys() == terms
    for kind in (ObjectnessScaled, BCKD):
        nothing = dict.fromkeys(("objectness", "classes", "box"), 0.0)
        if kind is BCKD:
            del nothing["objectness"]
        with pytest.raises(ValueError, match="nothing is compared"):
            kind(CHANNELS, **nothing)


def test_bckd_stays_bounded_where_the_teacher_sees_nothing() -> None:
    student, teacher = pair()
    assert teacher.predictions is not None
    objectness = torch.full((2, 150), -40.0)
    blind = teacher._replace(predictions=teacher.predictions._replace(objectness=objectness))
    terms = build("bckd")(student, blind, NO_BOXES, SIZE)
    assert 1 < terms["objectness"] < 150 * 5
    assert terms["class"] < 1e-12
