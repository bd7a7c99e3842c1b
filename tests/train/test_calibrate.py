import pytest
import torch

from tests.train.parts import make_batch, make_task
from tutelage.train.calibrate import measure

BATCHES = [make_batch(images=2, seed=s) for s in range(3)]


def test_the_weight_makes_the_gradient_ratio_what_was_asked():
    task, teacher = make_task()
    task.weights.update(measure(task, teacher, BATCHES[:1], {"fgd": 2.0}).weights)
    batch = BATCHES[0]
    out = task.student.train()(batch.images, task.taps)
    losses = task.losses(out, batch, teacher(batch.images))
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
    a = measure(one, teacher, BATCHES, {"fgd": 1.0}).weights["fgd"]
    b = measure(other, teacher, BATCHES, {"fgd": 1.0}).weights["fgd"]
    assert a == pytest.approx(b * scale, rel=1e-4)


@pytest.mark.parametrize("name", ["fgd", "pkd", "bckd", "crosskd"])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_a_method_leaves_the_trained_student_unchanged(name, scale):
    trained = []
    for factor in (1.0, scale):
        task, panel = make_task(name)
        rescale(task.methods[name], factor)
        task.weights.update(measure(task, panel, BATCHES, {name: 1.5}).weights)
        optimizer = torch.optim.SGD(task.parameters(), lr=1e-4)  # large steps are chaotic
        task.train()
        for batch in BATCHES:
            optimizer.zero_grad()
            losses = task(batch, panel(batch.images))
            sum(value for group in losses for value in group.values()).backward()
            optimizer.step()
        trained.append(torch.cat([p.detach().flatten() for p in task.student.parameters()]))
    start = torch.cat([p.detach().flatten() for p in make_task(name)[0].student.parameters()])
    moved = torch.linalg.vector_norm(trained[0] - start)
    assert torch.linalg.vector_norm(trained[1] - trained[0]) < 1e-2 * moved


def rescale(method, factor):
    """Multiply all terms of a method."""

    class Rescaled(type(method)):
        def forward(self, *args):
            return {name: factor * value for name, value in super().forward(*args).items()}

    method.__class__ = Rescaled


def test_measuring_changes_nothing():
    task, teacher = make_task()
    task.weights["fgd"] = 7.0
    before = {k: v.clone() for k, v in task.state_dict().items()}
    task.eval()
    measure(task, teacher, BATCHES, {"fgd": 1.0})
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
    assert all(p.grad is None for p in task.parameters())
    assert task.weights == {"fgd": 7.0}
    assert not task.training


def test_maps_of_frozen_rows_count_for_nothing():
    task, teacher = make_task()
    whole = measure(task, teacher, BATCHES[:1], {"fgd": 1.0}).ratios["fgd"]
    for row in range(60):  # the first tap is 57
        task.student.model[row].requires_grad_(False)
    part = measure(task, teacher, BATCHES[:1], {"fgd": 1.0}).ratios["fgd"]
    assert 0 < part[0] != whole[0]
