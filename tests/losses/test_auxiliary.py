"""Tests of the loss of heads with auxiliary levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.loss_cases import (
    BOXES,
    SIZE,
    TERMS,
    assert_terms,
    criterion,
    random_raw,
    random_targets,
    targets_of,
)
from tutelage.losses import AnchorCriterion, AuxiliaryCriterion, auxiliary
from tutelage.losses.assigner import AROUND, NEAREST


class Patient(AnchorCriterion):
    """The plain loss with the larger pool."""

    pool = 20


def waves() -> list[torch.Tensor]:
    """Return the raw outputs of the published vectors: four lead levels, four auxiliary ones."""
    raw = []
    for group in range(2):
        for level in range(4):
            cells = 256 // (8 * 2**level)
            shape = (2, 3, cells, cells, 8)
            values = 2 * np.sin(0.37 * np.arange(np.prod(shape)) + level + 10 * group)
            raw.append(torch.tensor(values.reshape(shape), dtype=torch.float32, requires_grad=True))
    return raw


def test_waves_give_the_published_terms_gradients_and_matches():
    raw, targets = waves(), targets_of(BOXES, 256)
    measure = criterion("yolov7-w6", kind=AuxiliaryCriterion)
    terms = measure(raw, targets, (256, 256))
    found = torch.stack([terms[name] for name in TERMS])
    expected = torch.tensor((0.11323734, 4.26255894, 0.90692991))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    loss = 2 * sum(terms.values())
    assert loss.item() == pytest.approx(10.565453, rel=1e-6)
    loss.backward()
    gradients = [level.grad.abs().sum().item() for level in raw]
    lead = (3.1420798, 0.9776639, 0.4752688, 0.0418966)
    assert gradients == pytest.approx((*lead, 0.7826400, 0.2601463, 0.0437686, 0.0105544), rel=1e-5)
    assert measure.match(raw[:4], targets).counts == (10, 1, 1, 0)
    assert measure.match(raw[:4], targets, reach=AROUND).counts == (13, 3, 0, 0)
    around = criterion("yolov7-w6", assigner="anchor").match(raw[:4], targets, reach=AROUND)
    assert around.counts == (61, 45, 10, 0)


def case(seed: int, boxes: int = 12):
    generator = torch.Generator().manual_seed(seed)
    lead, rest = (random_raw(generator, 3, SIZE) for _ in range(2))
    return lead, rest, random_targets(generator, 3, boxes, SIZE)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.integers(0, 30))
def test_the_lead_levels_alone_are_the_plain_loss_with_its_pool(seed, boxes):
    lead, _, targets = case(seed, boxes)
    measure, plain = criterion(kind=AuxiliaryCriterion), criterion(kind=Patient)
    assert_terms(measure(lead, targets, SIZE), plain(lead, targets, SIZE))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.floats(0, 2))
def test_the_auxiliary_terms_are_weighted_and_guided_by_the_lead_levels(seed, weight):
    lead, rest, targets = case(seed)
    measure, plain = criterion(kind=AuxiliaryCriterion), criterion(kind=Patient)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auxiliary, "WEIGHT", weight)
        found = measure(lead + rest, targets, SIZE)
    expected = plain(lead, targets, SIZE)
    extra = plain.terms(rest, targets, plain.match(lead, targets, reach=AROUND))
    assert_terms(found, {n: expected[n] + weight * plain.gains[n] * extra[n] for n in TERMS})


def test_levels_of_one_output_and_one_reach_count_five_quarters(monkeypatch):
    lead, _, targets = case(1)
    monkeypatch.setattr(auxiliary, "AROUND", NEAREST)
    terms = criterion(kind=AuxiliaryCriterion)(lead + lead, targets, SIZE)
    plain = criterion(kind=Patient)(lead, targets, SIZE)
    assert_terms(terms, {name: 1.25 * value for name, value in plain.items()})


def test_nothing_of_the_auxiliary_levels_guides():
    """Each group of levels gets the gradient of its own terms alone."""
    lead, rest, targets = case(2)
    measure = criterion(kind=AuxiliaryCriterion)
    sum(measure(lead + rest, targets, SIZE).values()).backward()
    alone = [level.detach().clone().requires_grad_() for level in lead]
    sum(measure(alone, targets, SIZE).values()).backward()
    for with_rest, without in zip(lead, alone, strict=True):
        torch.testing.assert_close(with_rest.grad, without.grad, rtol=1e-12, atol=0)
    assert all(level.grad.any() for level in rest)
    assert torch.equal(measure.answers(lead + rest, targets), measure.answers(lead, targets))


def test_without_boxes_only_objectness_is_trained():
    lead, rest, _ = case(3)
    terms = criterion(kind=AuxiliaryCriterion)(lead + rest, targets_of([], 64), SIZE)
    assert terms["box"] == terms["cls"] == 0
    for gradient in torch.autograd.grad(terms["obj"], lead + rest):
        assert gradient[..., 4].all()
        assert not gradient[..., :4].any()


def test_auxiliary_levels_of_another_shape_are_refused():
    lead, rest, targets = case(4)
    with pytest.raises(ValueError, match="expected raw outputs"):
        criterion(kind=AuxiliaryCriterion)(lead + rest[:2], targets, SIZE)
    with pytest.raises(ValueError, match="expected raw outputs"):
        criterion()(lead + rest, targets, SIZE)
