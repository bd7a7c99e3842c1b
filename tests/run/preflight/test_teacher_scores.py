"""What is said of a teacher that is judged at another image size than that of its training."""

from types import SimpleNamespace

import pytest
import torch

from tests.run.small_runs import make_data, make_teacher, settings
from tutelage.errors import TeacherError
from tutelage.run.preflight import before_training as module
from tutelage.run.preflight.before_training import check_distillation
from tutelage.run.preflight.teacher_scores import evaluate_teacher, size_warning
from tutelage.run.summary import plan_rows
from tutelage.setup.build import build_run
from tutelage.training.schedule import Position

SCORES = {"AP": 0.18, "AP50": 0.3, "AP75": 0.1, "threshold": 0.36}


@pytest.mark.parametrize(
    ("trained", "judged", "told"),
    [
        (128, 640, True),
        (128, 64, True),
        (96, 64, True),
        (640, 672, False),
        (64, 64, False),
        (None, 64, False),
    ],
)
def test_sizes_far_apart(trained, judged, told):
    record = {"source": "runs/teacher"} | ({"image_size": trained} if trained else {})
    text = size_warning(record, judged)
    assert (text is not None) == told
    if text:
        assert f"is judged at {judged} px, trained at {trained}" in text
        assert text.endswith(f"--img-size {trained}")


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A run at 128 px with a teacher that was trained at 64."""
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    distill = {"teacher": make_teacher(tmp_path / "t.safetensors"), "methods": [{"name": "fgd"}]}
    config = settings(
        make_data(tmp_path / "data"), tmp_path, train={"image_size": 128}, distill=distill
    )
    return build_run(config)


def test_preflight_warns_once_and_the_plan_says_it(parts, monkeypatch):
    monkeypatch.setattr(module, "evaluate_teacher", lambda *_: SCORES)
    monkeypatch.setattr(module, "check_wiring", lambda *_: None)
    weights = SimpleNamespace(batches=[None], measure=lambda *_: ())
    events = check_distillation(parts, weights, Position())
    first = [event for event in events if getattr(event, "code", "") == "T33"]
    assert [event.level for event in first] == ["warning"]
    assert "is judged at 128 px, trained at 64" in first[0].text
    knowledge = parts.distillation.teachers.teachers[0](torch.rand(1, 3, 64, 64))
    assert parts.unwrapped_task.views["fgd"].of_teacher([knowledge]).threshold == 0.36
    later = check_distillation(parts, weights, Position(1, 0))
    assert not [event for event in later if getattr(event, "code", "") == "T33"]
    teacher = dict(plan_rows(parts, {}, "runs/x"))["teacher"]
    assert teacher.endswith("AP 0.180 on this val (judged at 128 px, trained at 64)")


def test_one_that_finds_nothing_is_told_its_size_first(parts):
    with pytest.raises(TeacherError) as caught:
        evaluate_teacher(parts.distillation, 0, parts.val, parts.config, torch.device("cpu"))
    assert caught.value.what.endswith("on 8 val images, judged at 128 px, trained at 64.")
    assert caught.value.fix.startswith("Judge it at its own size:  --img-size 64\n")
