"""KD-50 to KD-56: EMA, checkpoint, export, clean-up."""

import copy
import gc
import io
import json
import weakref
from pathlib import Path

import pytest
import torch

from tests.models.pico import PICO
from tests.run.small_runs import last, run, settings
from tests.setup.small_tasks import make_batch, make_task
from tests.training.runs import make_run
from tutelage.cli.app import run as command
from tutelage.data import digits
from tutelage.data.digit_scenes import SceneSettings
from tutelage.demo import shipped_teacher
from tutelage.models.build import load
from tutelage.run.events import Evaluated, Finished
from tutelage.sanitise import json_values
from tutelage.training.loop import fit
from tutelage.training.schedule import Schedule
from tutelage.training.supervision import SupervisedBatch
from tutelage.weights.store import load_best

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@pytest.fixture
def stepped():
    """A task after a step of a distilled run."""
    run = make_run(Schedule(epochs=1, steps=4, batch=2))
    next(fit(*run))
    return run


def test_kd50_kd51_a_task_in_training_can_be_copied_and_pickled(stepped):
    task = stepped[1]
    file = io.BytesIO()
    torch.save(task, file)
    file.seek(0)
    for other in (copy.deepcopy(task), torch.load(file, weights_only=False)):
        assert other.state_dict().keys() == task.state_dict().keys()
        assert all(torch.equal(v, task.state_dict()[k]) for k, v in other.state_dict().items())


def test_kd50_features_are_in_no_state(stepped):
    fresh, _ = make_task()
    assert stepped[1].state_dict().keys() == fresh.state_dict().keys()
    size = sum(v.numel() for v in fresh.state_dict().values())
    assert sum(v.numel() for v in stepped[1].state_dict().values()) == size


def test_kd52_what_is_deployed_holds_the_student_alone(distilled):
    state, _ = load_best(distilled.folder / "best.safetensors")
    fresh = load(PICO, names=["cat", "dog"])
    assert state.keys() == fresh.state_dict().keys()
    assert sum(p.numel() for p in load(distilled.folder).parameters()) == sum(
        p.numel() for p in fresh.parameters()
    )


def test_kd53_no_hook_stays_behind(stepped):
    for module in (*stepped[1].modules(), *stepped[2].teachers.teachers[0].network.modules()):
        assert not any(getattr(module, name) for name in HOOKS)


def test_kd53_nothing_holds_the_teacher():
    task, teacher = make_task()
    batch = make_batch()
    task(SupervisedBatch(batch, teacher(batch)))
    alive = weakref.ref(teacher.teachers[0].network)
    del teacher
    gc.collect()
    assert alive() is None


@pytest.mark.slow
def test_kd55_the_scores_of_a_run_are_those_of_the_student_that_it_saved(
    tmp_path, monkeypatch, capsys
):
    """The student starts as the demo teacher, so that there are detections to suppress."""
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    teacher = str(shipped_teacher())
    data = str(digits.build(tmp_path, scenes=SceneSettings(train=2, val=32, test=1)))
    config = settings(
        data,
        tmp_path / "runs",
        model={"arch": None, "weights": teacher},
        train={"image_size": 128, "epochs": 2, "ema_ramp": 1.0},  # EMA and student differ
        optim={"lr": 1e-4, "warmup_bias_lr": 0.0},
        distill={"teacher": teacher, "methods": [{"name": "pkd"}]},
    )
    events = run(config)
    folder = last(events, Finished).folder
    scores = last(events, Evaluated).scores
    assert command(["val", folder, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert scores["AP"] > 0.4
    assert json_values(scores) == {name: again[name] for name in scores}
    assert command(["val", teacher, "--data", data, "--json"]) == 0
    own = json.loads(capsys.readouterr().out)
    record = json.loads((Path(folder) / "teacher.json").read_text())
    assert 0 < record["scores"].pop("threshold") < 1  # of its detections, no score of val
    assert record["scores"] == pytest.approx({name: own[name] for name in record["scores"]})
