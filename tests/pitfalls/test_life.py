"""KD-50 to KD-56: EMA, checkpoint, export, clean-up."""

import copy
import gc
import io
import weakref

import pytest
import torch

from tests.run.small_runs import CHECKPOINT, last, make_data, make_teacher, run, settings
from tests.setup.parts import make_batch, make_task
from tests.train.test_loop import make_run
from tutelage.deploy.predict import predict_each
from tutelage.deploy.writers import LabelWriter
from tutelage.evaluation.validate import validate
from tutelage.models.build import load
from tutelage.run.events import Evaluated, Finished
from tutelage.train.loop import fit
from tutelage.train.schedule import Schedule
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
    fresh = load("yolov7-tiny@0.125", names=["cat", "dog"])
    assert state.keys() == fresh.state_dict().keys()
    assert sum(p.numel() for p in load(distilled.folder).parameters()) == sum(
        p.numel() for p in fresh.parameters()
    )


def test_kd53_no_hook_stays_behind(stepped):
    for module in (*stepped[1].modules(), *stepped[2].panel.teachers[0].network.modules()):
        assert not any(getattr(module, name) for name in HOOKS)


def test_kd53_nothing_holds_the_teacher():
    task, teacher = make_task()
    batch = make_batch()
    task(batch, teacher(batch.images))
    alive = weakref.ref(teacher.teachers[0].network)
    del teacher
    gc.collect()
    assert alive() is None


@pytest.fixture
def solved(tmp_path):
    """Weights, and data whose boxes are what these weights detect: the AP is far from 0."""
    torch.manual_seed(0)
    weights, data = make_teacher(tmp_path / "w.safetensors"), make_data(tmp_path / "data")
    writer = LabelWriter(tmp_path / "data/labels/train")
    pictures = str(tmp_path / "data/images/train")
    for frame in predict_each(weights, pictures, image_size=64, conf=1e-3, max_detections=20):
        writer.add(frame)
    return weights, data


def test_kd55_the_scores_of_a_run_are_those_of_the_student_that_it_saved(solved, tmp_path):
    weights, data = solved
    events = run(
        settings(
            data,
            tmp_path,
            model={"arch": None, "weights": weights},
            train={"epochs": 2, "ema_ramp": 1.0},  # the average stays behind the student
            optim={"lr": 1e-3, "warmup_epochs": 0},
            distill={
                "teacher": str(CHECKPOINT),
                "accept_teacher": True,
                "methods": [{"name": "fgd", "weight": 2.0}],
            },
        )
    )
    best = max(e.scores["AP"] for e in events if isinstance(e, Evaluated))
    assert best > 0.05
    folder = last(events, Finished).folder
    again = validate(folder, data=data, split="val", image_size=64)
    assert pytest.approx(best, abs=1e-6) == again.AP
    assert (
        pytest.approx(best, abs=1e-4) != validate(weights, data=data, split="val", image_size=64).AP
    )
