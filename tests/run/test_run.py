"""Whole runs on the built-in data: what a user starts with ``tutelage train``."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from tests.run.small_runs import make_data
from tests.run.small_runs import settings as small_settings
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, DataError, TrainingError, WeightsError
from tutelage.models.build import load
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.events import EpochDone, Evaluated, Finished, Notice, Planned, Stage, StepDone
from tutelage.run.run import run_training
from tutelage.teachers import fingerprint
from tutelage.training.schedule import Schedule
from tutelage.weights.store import load_best

PICO = {
    "data": "digits:easy",
    "model": {"arch": "yolov7-tiny@0.125"},
    "train": {"image_size": 96, "batch": 8, "epochs": 2, "device": "cpu", "workers": 0, "seed": 1},
    "augment": {"fliplr": 0.0, "mosaic": 0.0, "translate": 0.1},
}


def settings(folder, **changes):
    merged = json.loads(json.dumps(PICO)) | {"run": {"project": str(folder)}}
    for section, values in changes.items():
        merged[section] = merged.get(section, {}) | values if isinstance(values, dict) else values
    return Config.model_validate(merged)


def last(events, kind):
    return [e for e in events if isinstance(e, kind)][-1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    events = list(run_training(settings(folder), command_line="tutelage train"))
    return events, folder / last(events, Finished).folder


def test_run_folder_is_complete(plain):
    events, folder = plain
    names = {p.name for p in folder.iterdir()}
    assert names >= {
        "config.yaml",
        "best.safetensors",
        "last.pt",
        "metrics.jsonl",
        "scores.json",
        "predictions.json",
        "samples",
        "environment.txt",
    }
    assert {p.name for p in (folder / "samples").iterdir()} >= {"train_batch0.jpg", "val_found.jpg"}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"box", "obj", "cls", "AP", "AP50", "lr", "seconds"} <= set(rows[0])
    assert isinstance(events[0], Stage)
    assert sum(isinstance(e, StepDone) for e in events) == 2 * last(events, Planned).steps


def test_best_is_a_detector_with_its_names(plain):
    net = load(plain[1])
    assert net.names == tuple("0123456789")
    _, meta = load_best(plain[1] / "best.safetensors")
    assert meta["image_size"] == 96


def test_a_distilled_run_starts_from_one_more_flag(plain, tmp_path):
    config = settings(tmp_path, distill={"teacher": str(plain[1]), "accept_teacher": True})
    events = list(run_training(config))
    folder = tmp_path / last(events, Finished).folder
    terms = set(last(events, EpochDone).losses)
    assert {"bckd/class", "bckd/objectness", "bckd/box"} <= terms
    record = json.loads((folder / "teacher.json").read_text())
    assert record["sha256"]
    assert record["scores"].keys() == {"AP", "AP50", "AP75", "threshold"}
    state, _ = load_best(folder / "best.safetensors")
    assert set(state) == set(load("yolov7-tiny@0.125", names=list("0123456789")).state_dict())
    assert any(
        "weights measured before the first step" in e.text for e in events if isinstance(e, Notice)
    )


def test_resume_equals_the_uninterrupted_run(plain, tmp_path):
    methods = [{"name": "bckd"}, {"name": "fgd"}]
    distill = {"teacher": str(plain[1]), "accept_teacher": True, "methods": methods}
    config = settings(tmp_path, train={"epochs": 3}, distill=distill)
    whole = list(run_training(config))
    stopped = []
    for event in run_training(config):
        stopped.append(event)
        if isinstance(event, StepDone) and event.epoch == 1:
            break
    folder = tmp_path / last(stopped, Planned).folder
    assert load_checkpoint(folder / "last.pt").position == [1, 0]
    rest = list(run_training(config, resume=str(folder)))
    assert [e.epoch for e in rest if isinstance(e, Evaluated)] == [1, 2]
    states = [
        load_checkpoint(f / "last.pt") for f in (tmp_path / last(whole, Finished).folder, folder)
    ]
    assert states[0].weights == states[1].weights
    assert states[0].balance == states[1].balance
    assert min(states[0].balance["fgd"]) < 1
    for key in ("task", "ema"):
        assert fingerprint(getattr(states[0], key).items()) == fingerprint(
            getattr(states[1], key).items()
        ), key
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_a_run_goes_on_in_the_precision_in_which_it_began(tmp_path, monkeypatch):
    data = make_data(tmp_path / "data")
    monkeypatch.setattr("tutelage.setup.build.LARGE", 0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    config = small_settings(data, tmp_path, train={"epochs": 2})
    events = run_training(config)
    started = next(event for event in events if isinstance(event, Planned))
    for event in events:
        if isinstance(event, Evaluated):
            next(events)  # it is saved
            break
    events.close()
    assert " · bf16 (auto)" in dict(started.rows)["run"]
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    resumed = list(run_training(config, resume=started.folder))
    assert " · bf16 (auto)" in dict(last(resumed, Planned).rows)["run"]
    new = list(run_training(config, dry_run=True))
    assert " · fp32 (auto)" in dict(last(new, Planned).rows)["run"]


def test_a_finished_run_is_not_resumed(plain, tmp_path):
    with pytest.raises(ConfigError, match="already finished"):
        list(run_training(settings(tmp_path), resume=str(plain[1])))


def test_nan_stops_and_keeps_the_last_good_files(tmp_path, monkeypatch):
    monkeypatch.setattr(Schedule, "lr_factor", lambda _, epoch: 1e30 if epoch else 1.0)
    with pytest.raises(TrainingError, match=r"became nan at epoch 2 .* is from epoch 1"):
        list(run_training(settings(tmp_path)))
    [folder] = tmp_path.iterdir()
    state = load_checkpoint(folder / "last.pt")
    assert state.position == [1, 0]
    assert all(v.isfinite().all() for v in state.task.values() if v.is_floating_point())


def test_what_others_do_with_the_plan_is_no_time_of_the_first_epoch(tmp_path, monkeypatch):
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    for module in ("run", "training"):
        monkeypatch.setattr(f"tutelage.run.{module}.time", clock)
    for event in run_training(small_settings(make_data(tmp_path), tmp_path / "runs")):
        if isinstance(event, Planned):
            passed[0] = 1e9
        elif isinstance(event, EpochDone):
            assert event.seconds < 1e9


def test_a_dry_run_takes_one_step(tmp_path):
    events = list(run_training(settings(tmp_path), dry_run=True))
    assert sum(isinstance(e, StepDone) for e in events) == 1
    assert not any(isinstance(e, EpochDone | Finished) for e in events)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"train": {"image_size": 100}},
            ConfigError,
            "--img-size 100 must be a multiple of 32.*Nearest: 96",
        ),
        ({"train": {"device": "cuda:7"}}, ConfigError, "this machine has"),
        ({"train": {"precision": "fp16"}}, ConfigError, "needs a GPU"),
        ({"data": None}, ConfigError, "No data set is given"),
        ({"data": "missing.yaml"}, DataError, "missing.yaml"),
        ({"distill": {"teacher": "missing.pt"}}, WeightsError, "missing.pt"),
        ({"model": {"arch": "yolov9"}}, ConfigError, "yolov9"),
    ],
)
def test_what_cannot_work_fails_before_the_first_step(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        list(run_training(settings(tmp_path, **changes)))
    assert not list(tmp_path.glob("*/last.pt"))


def test_layers_without_a_teacher_are_a_line_not_an_error(tmp_path):
    given = {"student_kd_layers": ["57", "65", "73"], "methods": [{"name": "foo"}]}
    events = list(run_training(settings(tmp_path, distill=given), dry_run=True))
    told = [e.text for e in events if isinstance(e, Notice)]
    for what in ("student_kd_layers/teacher_kd_layers have", "distill.methods (--method) has"):
        assert f"{what} no effect without --teacher-weights" in told


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute alone, many beside a busy neighbour
def test_a_small_student_learns_the_easy_digits(tmp_path):
    config = settings(
        tmp_path,
        model={"arch": "yolov7-tiny@0.25"},
        train={"epochs": 40, "nominal_batch": 8, "eval_every": 40},
        loss={"cls": 4.0, "obj": 16.0},
        optim={"lr": 0.02},
    )
    events = list(run_training(config))
    assert last(events, Evaluated).scores["AP50"] > 0.5
