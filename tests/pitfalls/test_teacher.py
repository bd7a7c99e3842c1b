"""KD-11 to KD-18: the teacher."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.pitfalls.before_training import warnings_before_training
from tests.setup.small_tasks import make_batch, make_task
from tests.training.runs import make_run
from tutelage.run.events import Evaluated
from tutelage.run.monitors.teacher import TeacherPassedMonitor
from tutelage.structures import Predictions
from tutelage.teachers import FeatureTeacher, Teachers
from tutelage.training.loop import fit, multi_scale
from tutelage.training.schedule import Schedule


def test_kd12_train_mode_does_not_reach_the_teacher():
    task, teacher = make_task()
    task.train()
    modules = list(teacher.teachers[0].network.modules())
    assert not any(module.training for module in modules)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for module in modules)
    assert not set(map(id, modules)) & set(map(id, task.modules()))


def test_kd15_a_student_that_passes_its_teacher_is_told_once():
    watcher = TeacherPassedMonitor([{"scores": {"AP": 0.3}}, {"scores": {"AP": 0.449}}], 500)
    said = [
        watcher.check(Evaluated(e, {"AP": ap}, True)) for e, ap in enumerate((0.4, 0.453, 0.46))
    ]
    assert said[0] is said[2] is None
    assert said[1].level == "warning"
    assert "student (AP 0.453) has passed the teacher (0.449 on 200 val images)" in said[1].text
    assert "distill.stop_epoch=2" in said[1].text


def test_kd15_a_teacher_that_was_not_judged_cannot_be_passed():
    for record in ({"scores": None}, {}):
        assert TeacherPassedMonitor([record], 10).check(Evaluated(0, {"AP": 0.9}, True)) is None


def test_kd15_equal_in_what_is_shown_is_not_passed():
    assert (
        TeacherPassedMonitor([{"scores": {"AP": 1e-6}}], 10).check(Evaluated(0, {"AP": 2e-6}, True))
        is None
    )


def test_kd16_kd17_student_and_teacher_see_the_same_tensor():
    """Also behind a change of size: nothing is converted, read or augmented twice."""
    run = list(make_run(Schedule(epochs=1, steps=4, batch=2)))
    task, inner, seen = run[1], run[2].teachers, {"student": [], "teacher": []}

    def teachers(batch, wanted):
        seen["teacher"].append(batch.images)
        return inner(batch)

    task.student.register_forward_pre_hook(lambda _, given: seen["student"].append(given[0]))
    run[2].teachers = teachers
    list(fit(*run, resize=multi_scale(64, 32, seed=0)))
    assert len(seen["teacher"]) == 4
    pairs = zip(seen["student"], seen["teacher"], strict=True)
    assert all(mine is theirs for mine, theirs in pairs)
    assert len({images.shape for images in seen["teacher"]}) > 1


class Reddish(nn.Module):
    """Knows the drawn boxes where an image is redder than blue in the order that it was taught."""

    def __init__(self, red):
        super().__init__()
        self.maps, self.red = nn.Conv2d(3, 4, 8, 8), red

    def forward(self, images):
        self.maps(images)
        return (images[:, self.red] - images[:, 2 - self.red]).mean((1, 2))


def reddish(red, batch, **options):
    def predict(out, _):
        own = torch.arange(len(out))[:, None] == batch.targets.image
        hot = F.one_hot(batch.targets.label, 3) * own[..., None]
        odds = 0.8 * hot * (out > 0)[:, None, None]
        xyxy = batch.targets.xyxy.expand(len(out), -1, -1)
        return Predictions(xyxy, odds.logit(1e-6), None, torch.zeros(xyxy.shape[1]))

    names = dict.fromkeys("abc")
    return FeatureTeacher(Reddish(red), {"p3": "maps"}, names=names, predict=predict, **options)


def test_kd16_a_teacher_that_was_trained_on_bgr_images_is_told():
    task, _ = make_task("fgd")
    batch = make_batch()
    red = torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1).expand(3, 64, 64)
    batch = batch._replace(images=red.expand(2, 3, 64, 64).contiguous())
    teachers = {"rgb": reddish(0, batch), "bgr": reddish(2, batch)}
    teachers["wrongly declared"] = reddish(0, batch, bgr=True)
    teachers["declared"] = reddish(2, batch, bgr=True)
    columns = [(0, 1, 2)]
    said = {
        name: [
            text
            for text in warnings_before_training(task, Teachers([one], [False]), columns, batch)
            if "red and blue" in text
        ]
        for name, one in teachers.items()
    }
    assert not said["rgb"]
    assert not said["declared"]
    assert "(score × IoU 0.80 instead of 0.00)" in said["bgr"][0]
    assert said["wrongly declared"]
