"""Training graphs with auxiliary levels, alone and with a teacher."""

import pytest
import torch

from tests.run.small_runs import CHECKPOINT, last, make_data, run, settings
from tests.setup.small_tasks import NAMES, make_batch
from tutelage.config import load_config
from tutelage.config.schema import Config
from tutelage.distill import pair
from tutelage.errors import ConfigError
from tutelage.evaluation.validate import validate
from tutelage.losses import AuxiliaryCriterion
from tutelage.models.build import build, load
from tutelage.run.events import EpochDone, Evaluated, Planned
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task
from tutelage.weights.store import save_best

ARCH = "yolov7-w6@0.125"


def make_task():
    torch.manual_seed(0)
    net = build(ARCH, NAMES)
    return Task(net, net.head.criterion(Config().loss, image_size=640))


def test_a_few_steps_lower_the_loss_and_move_every_parameter():
    task, batch = make_task(), make_batch(images=4, size=128)
    optimizer = torch.optim.Adam(task.parameters(), 1e-2)
    before = [p.detach().clone() for p in task.parameters()]
    totals = []
    for _ in range(20):
        loss = torch.stack(list(task(SupervisedBatch(batch)).detection.values())).sum()
        totals.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert totals[-1] < 0.8 * totals[0]
    assert isinstance(task.criterion, AuxiliaryCriterion)
    still = [
        name
        for (name, p), old in zip(task.named_parameters(), before, strict=True)
        if torch.equal(p, old)
    ]
    assert not still


def test_only_ota_teaches_auxiliary_levels():
    config = Config(loss={"assigner": "anchor"}).loss
    with pytest.raises(ConfigError, match="has auxiliary levels, which only OTA assigns"):
        build(ARCH, NAMES).head.criterion(config, image_size=64)


def test_a_run_of_a_p6_student_with_a_p5_teacher(tmp_path):
    config = settings(
        make_data(tmp_path / "d"),
        tmp_path,
        model={"arch": ARCH},
        distill={
            "teacher": str(CHECKPOINT),
            "accept_teacher": True,
            "methods": [{"name": "cwd", "weight": 1.0}],
        },
    )
    events = run(config)
    rows = [row[1].split() for row in last(events, Planned).rows if " → " in row[1]]
    assert [(row[0], row[2]) for row in rows if row[0].isdigit()] == [
        ("83", "57"),
        ("93", "65"),
        ("103", "73"),
    ]
    assert last(events, EpochDone).losses["cwd/channel"] > 0
    folder = last(events, Planned).folder
    again = validate(folder, data=config.data)
    assert last(events, Evaluated).scores["AP"] == pytest.approx(again.AP, nan_ok=False)
    trained = load(folder)
    assert trained.head.m2[0].weight.shape == (21, 40, 1, 1)


def test_a_p6_teacher_of_a_p6_student(tmp_path):
    big = build("yolov7-w6@0.1875", ["cat", "dog"])
    path = tmp_path / "teacher.safetensors"
    meta = {"arch": big.arch, "arch_name": big.arch_name, "names": ["cat", "dog"]}
    save_best(path, big.state_dict(), meta | {"image_size": 64})
    config = settings(
        make_data(tmp_path / "d"),
        tmp_path,
        model={"arch": ARCH},
        train={"image_size": 128},
        distill={
            "teacher": str(path),
            "accept_teacher": True,
            "methods": [{"name": "bckd", "weight": 1.0}, {"name": "fgd", "weight": 0.1}],
        },
    )
    losses = last(run(config), EpochDone).losses
    assert {name.split("/")[0] for name in losses} >= {"box", "bckd", "fgd"}
    found = pair(build(ARCH, NAMES), big)
    assert [tap.key for tap in found.student] == ["83", "93", "103", "113"]


def test_auxiliary_rows_of_a_teacher_are_no_taps(tmp_path):
    student, teacher = build("yolov7-tiny@0.125", NAMES), build(ARCH, NAMES).fused()
    with pytest.raises(ConfigError, match=f"118 is an auxiliary row of {ARCH}"):
        pair(student, teacher, student_layers=["57"], teacher_layers=["118"])


def test_the_image_must_be_a_multiple_of_64(tmp_path):
    config = settings(
        make_data(tmp_path / "d"), tmp_path, model={"arch": ARCH}, train={"image_size": 96}
    )
    with pytest.raises(ConfigError, match="--img-size 96 must be a multiple of 64"):
        run(config)


@pytest.mark.parametrize(
    ("arch", "preset"), [("yolov7-e6e", "v7-p6"), (ARCH, "v7-p6"), ("yolov5m6", "v5-med")]
)
def test_the_preset_of_large_graphs(arch, preset):
    config = load_config(flags={"model.arch": (arch, "flag --cfg")}).config
    assert config.preset == preset
    if preset == "v7-p6":
        assert (config.optim.lrf, config.loss.cls, config.augment.scale) == (0.2, 0.3, 0.9)
