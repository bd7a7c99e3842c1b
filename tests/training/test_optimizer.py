import pytest
import torch

from tests.setup.small_tasks import make_task
from tutelage.config.schema import OptimConfig
from tutelage.errors import ConfigError
from tutelage.models.build import load
from tutelage.training.optimizer import freeze_rows, make_optimizer, parameter_groups
from tutelage.training.task import Task


def test_every_trainable_parameter_is_in_exactly_one_group():
    task, _ = make_task()
    task.student.model[0].requires_grad_(False)
    groups = parameter_groups(task, OptimConfig(), 1.0)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.parameters() if p.requires_grad)
    assert {group["kind"] for group in groups} == {
        "weight",
        "plain",
        "bias",
        "kd-weight",
        "kd-plain",
    }
    for group in groups:
        assert (group["weight_decay"] > 0) == group["kind"].endswith("weight")


def test_group_sizes_of_yolov7_tiny_are_the_reference_ones():
    groups = parameter_groups(
        Task(load("yolov7-tiny", names=["a"]), torch.nn.Identity()), OptimConfig(), 1.0
    )
    assert {group["kind"]: len(group["params"]) for group in groups} == {
        "weight": 58,
        "bias": 58,
        "plain": 61,
    }


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_optimizers_move_every_parameter(name):
    task, _ = make_task()
    before = [p.clone() for p in task.parameters()]
    optimizer = make_optimizer(task, OptimConfig(name=name))
    for p in task.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))


@pytest.mark.parametrize(("rows", "frozen"), [((3,), {0, 1, 2}), ((0, 5), {0, 5}), ((), set())])
def test_freeze_rows(rows, frozen):
    net = load("yolov7-tiny@0.125", names=["a"])
    freeze_rows(net, rows)
    still = {int(n.split(".")[1]) for n, p in net.named_parameters() if not p.requires_grad}
    assert still == frozen


@pytest.mark.parametrize("rows", [(79,), (3, 78), tuple(range(78))])
def test_rows_that_cannot_be_frozen(rows):
    net = load("yolov7-tiny@0.125", names=["a"])
    with pytest.raises(ConfigError, match=r"has rows 0…77, and one at least must train"):
        freeze_rows(net, rows)
    assert all(p.requires_grad for p in net.parameters())


def test_all_but_the_head_may_be_frozen():
    net = load("yolov7-tiny@0.125", names=["a"])
    freeze_rows(net, (77,))
    assert {n.split(".")[1] for n, p in net.named_parameters() if p.requires_grad} == {"77"}
