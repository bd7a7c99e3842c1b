"""What a flag of ``tutelage train`` does to a whole run."""

import json
from pathlib import Path

import pytest
import torch

from tests.run.small_runs import (
    CHECKPOINT,
    interrupted,
    last,
    make_data,
    make_teacher,
    run,
    settings,
    told,
)
from tutelage.errors import ConfigError, TeacherError, WeightsError
from tutelage.models.build import load
from tutelage.run import run as run_module
from tutelage.run import training
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.events import EpochDone, Evaluated, Finished, Planned, StepDone
from tutelage.setup.build import build_run
from tutelage.training.loop import EpochEnded
from tutelage.weights.store import load_best, load_header

MEASURED = {"teacher": str(CHECKPOINT), "accept_teacher": True}
TAUGHT = MEASURED | {"methods": [{"name": "fgd", "weight": 1.0}]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"precision": "bf16"}, "distill": TAUGHT},
        {"train": {"rect": True, "multi_scale": True}, "distill": TAUGHT},
        {"train": {"freeze": (4,)}, "distill": TAUGHT},  # p3 is frozen, p4 and p5 are not
        {"model": {"arch": "yolov5n"}, "distill": TAUGHT},
        {"optim": {"name": "adamw", "lr": 1e-3}, "loss": {"label_smoothing": 0.1}},
        {"augment": {"close_mosaic": 1, "mixup": 1.0}, "train": {"cache_images": "ram"}},
    ],
    ids=lambda changes: " ".join(f"{k}={v}" for s in changes.values() for k, v in s.items())[:50],
)
def test_runs_to_its_end(data, tmp_path, changes):
    events = run(settings(data, tmp_path, **changes))
    folder = last(events, Finished).folder
    state, _ = load_best(f"{folder}/best.safetensors")
    assert all(value.isfinite().all() for value in state.values())
    losses = last(events, EpochDone).losses
    assert all(value > 0 for value in losses.values())
    assert any(name.startswith("fgd/") for name in losses) == ("distill" in changes)


def test_a_teacher_of_yolov7_and_the_plan(data, tmp_path):
    config = settings(data, tmp_path, model={"arch": "yolov7-tiny@0.125"}, distill=MEASURED)
    rows = dict(last(run(config), Planned).rows)
    assert "yolov7-tiny@0.125" in rows["student"]
    assert f"{CHECKPOINT} (plain weights, stripped)" in rows["teacher"]
    assert "57 → 57" in rows["pairs"]
    assert "cwd × auto" in rows["methods"]
    assert "1 epochs × 2 steps, 64 px, batch 4 × accumulate 1 (nominal 4)" in rows["schedule"]


def test_weights_alone_bring_their_architecture(data, tmp_path):
    events = run(settings(data, tmp_path, model={"arch": None, "weights": str(CHECKPOINT)}))
    assert "tensors (head is new: " in dict(last(events, Planned).rows)["student"]
    net = load(last(events, Finished).folder)
    assert net.arch_name == "yolov7-tiny@0.25"
    assert torch.equal(net.head.anchor_sizes, load(CHECKPOINT).head.anchor_sizes)


def test_frozen_rows_keep_their_weights_and_their_statistics_adapt(data, tmp_path):
    config = settings(data, tmp_path, train={"freeze": (2,)})
    before = {k: v.clone() for k, v in build_run(config).student.state_dict().items()}
    events = run(config)
    after = load_checkpoint(f"{last(events, Finished).folder}/last.pt").task
    moved = {k for k, v in before.items() if not torch.equal(v, after[f"student.{k}"])}
    assert not {k for k in moved if k.startswith(("model.0.", "model.1.")) and "running" not in k
                and "tracked" not in k}  # fmt: skip
    assert {"model.0.bn.running_mean", "model.2.conv.weight"} <= moved
    assert "parameters are frozen" in told(events)


def test_nothing_left_of_a_frozen_student_to_teach(data, tmp_path):
    config = settings(data, tmp_path, train={"freeze": (9,)}, distill=TAUGHT)
    with pytest.raises(TeacherError, match=r"reaches no parameter of the student.*Freeze fewer"):
        run(config)


def test_all_classes_as_one(data, tmp_path):
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    distill = TAUGHT | {"teacher": teacher}
    events = run(settings(data, tmp_path, train={"single_cls": True}, distill=distill))
    folder = last(events, Finished).folder
    assert len(load(folder).names) == 1
    assert last(events, EpochDone).losses["cls"] == 0
    record = json.loads((Path(folder) / "teacher.json").read_text())
    assert record["scores"].keys() == {"AP", "AP50", "AP75", "threshold"}  # two classes as one


def test_patience_stops_and_such_a_run_is_finished(data, tmp_path):
    config = settings(data, tmp_path, train={"patience": 1, "epochs": 9}, optim={"lr": 1e-9})
    events = run(config)
    assert "Stopped early: no better AP for 1 epochs" in told(events)
    assert last(events, Evaluated).epoch == last(events, Finished).best_epoch + 1
    with pytest.raises(ConfigError, match=r"stopped early after \d of 9 epochs"):
        run(config, resume=last(events, Finished).folder)


def test_evaluations_are_as_often_as_asked(data, tmp_path):
    train = {"epochs": 3, "eval_every": 2}
    events = run(settings(data, tmp_path, train=train))
    assert [e.epoch for e in events if isinstance(e, Evaluated)] == [1, 2]
    events = run(settings(data, tmp_path, train={"epochs": 2, "validate_runs": False}))
    assert [e.epoch for e in events if isinstance(e, Evaluated)] == [1]


def test_a_resumed_run_uses_as_many_threads_as_before(data, tmp_path):
    config = settings(data, tmp_path, train={"epochs": 2, "threads": 1})
    before = torch.get_num_threads()
    try:
        folder = interrupted(config)
        torch.set_num_threads(2)
        run(config, resume=folder)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_run_goes_on_with_its_own_teacher_only(data, tmp_path):
    path = tmp_path / "teacher.safetensors"
    distill = TAUGHT | {"teacher": make_teacher(path)}
    config = settings(data, tmp_path, train={"epochs": 2}, distill=distill)
    folder = interrupted(config)
    make_teacher(path, seed=1)  # another one under the same name
    with pytest.raises(TeacherError, match=r"is not the one with which .* began"):
        run(config, resume=folder)


def test_a_last_pt_of_another_run_is_refused(data, tmp_path):
    config = settings(data, tmp_path, train={"epochs": 2}, model={"arch": "yolov7-tiny@0.125"})
    for event in run_module.run_training(config):
        if isinstance(event, StepDone) and event.epoch == 1:
            break
    [folder] = tmp_path.glob("data-*")
    other = settings(data, tmp_path, train={"epochs": 2})
    with pytest.raises(WeightsError) as caught:
        run(other, resume=str(folder))
    assert caught.value.what.startswith(f"{folder}/last.pt does not fit the config.yaml beside it")
    assert caught.value.fix.endswith(f"--weights {folder}/best.safetensors")


def test_a_dry_run_leaves_a_finished_run_alone(data, tmp_path):
    (tmp_path / "mine").mkdir()
    config = settings(data, tmp_path, run={"name": "mine", "exist_ok": True})
    list(run_module.run_training(config, dry_run=True))
    assert not list((tmp_path / "mine").iterdir())
    assert (tmp_path / "mine-dry-run" / "config.yaml").exists()


def test_what_is_wrong_with_the_data_is_told(data, tmp_path):
    broken = make_data(tmp_path / "broken")
    next((tmp_path / "broken" / "images").rglob("*.png")).write_bytes(b"junk")
    events = list(run_module.run_training(settings(broken, tmp_path / "runs"), dry_run=True))
    assert "1 of 8 training images cannot be used and are left out" in told(events)
    assert "1 of 8 validation images cannot be used and are left out" in told(events)
    assert "2 warnings" in dict(last(events, Planned).rows)["data"]


def test_a_run_that_cannot_start_leaves_no_folder(data, tmp_path):
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    config = settings(data, tmp_path / "runs", distill={"teacher": teacher})
    with pytest.raises(TeacherError, match="finds nothing on this data"):
        run(config)
    assert not (tmp_path / "runs").exists()


def test_spoilt_weights_are_never_saved(data, tmp_path, monkeypatch):
    """A gradient can overflow in the last step of an epoch, behind a finite loss."""
    fit = training.fit

    def spoiling(accelerator, task, *rest):
        for event in fit(accelerator, task, *rest):
            if isinstance(event, EpochEnded) and event.epoch == 1:
                with torch.no_grad():
                    task.student.model[0].conv.weight[0] = float("inf")
            yield event

    monkeypatch.setattr(training, "fit", spoiling)
    with pytest.raises(Exception, match=r"not finite any more at the end of epoch 2.*from epoch 1"):
        run(settings(data, tmp_path, train={"epochs": 3}))
    [state] = tmp_path.glob("*/last.pt")
    assert load_checkpoint(state).position == [1, 0]


def test_the_header_says_what_the_network_is(data, tmp_path):
    folder = last(run(settings(data, tmp_path)), Finished).folder
    header = load_header(f"{folder}/best.safetensors")
    assert header["strides"] == [8, 16, 32]
    assert {"format", "arch", "names", "image_size", "scores", "training"} <= header.keys()
