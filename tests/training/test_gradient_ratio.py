import numpy as np
import pytest
import torch

from tests.setup.small_tasks import make_batch, make_task
from tutelage.errors import TrainingError
from tutelage.training.gradient_ratio import (
    FLOOR,
    LEAST_BATCHES,
    GradientNorms,
    apply_weights,
    balanced,
    measure_weights,
    standard_error,
)
from tutelage.training.supervision import SupervisedBatch

BATCHES = [make_batch(images=2, seed=s) for s in range(3)]


def test_the_weight_makes_the_gradient_ratio_what_was_asked():
    task, teacher = make_task()
    for _ in range(4):  # here each map is computed from the one before: readings come nearer
        apply_weights(task, measure_weights(task, teacher, BATCHES[:1], {"fgd": 2.0}))
    batch = BATCHES[0]
    out = task.student.train()(batch.images, task.taps)
    losses = task.losses(out, SupervisedBatch(batch, teacher(batch)))
    norms = []
    for group in losses:
        grads = torch.autograd.grad(sum(group.values()), out.taps, retain_graph=True)
        norms.append(float(sum(g.square().sum() for g in grads)) ** 0.5)
    assert norms[1] / norms[0] == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_weight_undoes_the_scale_of_a_method(scale):
    base = {"alpha": 1e-3, "beta": 5e-4, "gamma": 1e-3, "lam": 5e-6}
    scaled = {name: value * scale for name, value in base.items()}
    one, teacher = make_task(**base)
    other, _ = make_task(**scaled)
    a = measure_weights(one, teacher, BATCHES, {"fgd": 1.0}).weights["fgd"]
    b = measure_weights(other, teacher, BATCHES, {"fgd": 1.0}).weights["fgd"]
    assert a == pytest.approx(b * scale, rel=1e-4)


@pytest.mark.parametrize("name", ["fgd", "pkd", "bckd", "crosskd"])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_a_method_leaves_the_trained_student_unchanged(name, scale):
    trained = []
    for factor in (1.0, scale):
        task, teachers = make_task(name)
        rescale(task.methods[name], factor)
        apply_weights(task, measure_weights(task, teachers, BATCHES, {name: 1.5}))
        optimizer = torch.optim.SGD(task.parameters(), lr=1e-4)  # large steps are chaotic
        task.train()
        for batch in BATCHES:
            optimizer.zero_grad()
            losses = task(SupervisedBatch(batch, teachers(batch)))
            sum(value for group in losses for value in group.values()).backward()
            optimizer.step()
        trained.append(torch.cat([p.detach().flatten() for p in task.student.parameters()]))
    start = torch.cat([p.detach().flatten() for p in make_task(name)[0].student.parameters()])
    moved = torch.linalg.vector_norm(trained[0] - start)
    assert torch.linalg.vector_norm(trained[1] - trained[0]) < 1e-2 * moved


@pytest.mark.parametrize("name", ["fgd", "cwd", "sl2"])
def test_each_map_pulls_in_proportion_to_detection(name):
    task, teacher = make_task(name)
    batch = BATCHES[0]
    reading = measure_weights(task, teacher, [batch], {name: 2.0})
    assert max(reading.balance[name]) == 1
    apply_weights(task, reading)
    out = task.student.train()(batch.images, task.taps)
    detection = sum(task.losses(out, SupervisedBatch(batch)).detection.values())
    wanted = torch.autograd.grad(detection, out.taps, retain_graph=True)
    leaves = tuple(tap.detach().requires_grad_() for tap in out.taps)
    student = task.knowledge(out._replace(taps=leaves), (64, 64))
    terms = task.method_terms(name, student, SupervisedBatch(batch, teacher(batch)))
    found = torch.autograd.grad(sum(terms.values()), leaves)
    ratios = [
        float(torch.linalg.vector_norm(a) / b.norm()) for a, b in zip(found, wanted, strict=True)
    ]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)


@pytest.mark.parametrize(
    ("direct", "detection", "before", "expected"),
    [
        ([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 0.5, 0.25]),
        ([1.0, 1.0, 1.0], [4.0, 2.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.5, FLOOR]),  # nothing there
        ([1.0, 0.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0], [1.0, FLOOR, 1.0]),
        ([1.0, 1.0, 0.5], [1.0, 1.0, 1.0], [1.0, 1.0, 0.25], [1.0, 1.0, 0.5]),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
    ],
)
def test_the_balance_follows_detection_and_switches_nothing_off(
    direct, detection, before, expected
):
    norms = [GradientNorms([], detection, direct)] * 3
    assert balanced(norms, before, lambda x: x) == pytest.approx(expected)


def test_methods_of_responses_have_no_balance():
    task, teacher = make_task("bckd")
    assert measure_weights(task, teacher, BATCHES[:1], {"bckd": 1.0}).balance == {}


def rescale(method, factor):
    """Multiply all terms of a method."""

    class Rescaled(type(method)):
        def forward(self, *args):
            return {name: factor * value for name, value in super().forward(*args).items()}

    method.__class__ = Rescaled


@pytest.mark.parametrize(("different", "read"), [(1, LEAST_BATCHES), (3, 12)])
def test_a_measurement_ends_as_soon_as_it_is_precise(different, read):
    task, teacher = make_task()
    batches = iter((BATCHES[:different] * 12)[:12])
    reading = measure_weights(task, teacher, batches, {"fgd": 1.0})
    assert (len(reading.ratios["fgd"]), len(list(batches))) == (read, 12 - read)


def test_the_standard_error_is_that_of_medians():
    draws = np.exp(0.5 * np.random.default_rng(0).standard_normal((2000, 40)))
    spread = np.log(np.median(draws, 1)).std()
    assert np.mean([standard_error(row) for row in draws]) == pytest.approx(spread, rel=0.05)
    assert standard_error([0.0, 0.0, 1.0, 1.0]) == float("inf")


def test_measuring_changes_nothing():
    task, teacher = make_task()
    task.weights["fgd"] = 7.0
    before = {k: v.clone() for k, v in task.state_dict().items()}
    task.eval()
    measure_weights(task, teacher, BATCHES, {"fgd": 1.0})
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
    assert all(p.grad is None for p in task.parameters())
    assert task.weights == {"fgd": 7.0}
    assert not task.training


def test_maps_of_frozen_rows_count_for_nothing():
    task, teacher = make_task()
    whole = measure_weights(task, teacher, BATCHES[:1], {"fgd": 1.0}).ratios["fgd"]
    for row in range(4):  # the first tap is 3
        task.student.model[row].requires_grad_(False)
    part = measure_weights(task, teacher, BATCHES[:1], {"fgd": 1.0}).ratios["fgd"]
    assert 0 < part[0] != whole[0]


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_method_without_a_gradient_gets_no_weight(value):
    task, teachers = make_task("pkd")
    rescale(task.methods["pkd"], value)
    with pytest.raises(TrainingError, match="The weight of pkd cannot be measured"):
        measure_weights(task, teachers, [make_batch()], {"pkd": 1.0})


@pytest.mark.parametrize("name", ["fgd", "bckd"])
def test_layers_before_the_taps_are_constants_and_change_nothing(monkeypatch, name):
    task, teachers = make_task(name)
    reading = measure_weights(task, teachers, BATCHES[:1], {name: 2.0})
    assert all(p.requires_grad for p in task.student.parameters())
    spared = task.student.parameters_before(task.taps)
    assert 0 < len(spared) < len([*task.student.parameters()])
    monkeypatch.setattr(task.student, "parameters_before", lambda keys: [])
    assert measure_weights(task, teachers, BATCHES[:1], {name: 2.0}) == reading
