"""KD-11 to KD-18: the teacher."""

from torch import nn

from tests.train.parts import make_task
from tests.train.test_loop import make_run
from tutelage.train.events import Evaluated
from tutelage.train.loop import fit, multi_scale
from tutelage.train.plan import Plan
from tutelage.train.watch import Passed


def test_kd12_train_mode_does_not_reach_the_teacher():
    task, teacher = make_task()
    task.train()
    modules = list(teacher.teachers[0].network.modules())
    assert not any(module.training for module in modules)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for module in modules)
    assert not set(map(id, modules)) & set(map(id, task.modules()))


def test_kd15_a_student_that_passes_its_teacher_is_told_once():
    watcher = Passed([{"scores": {"AP": 0.3}}, {"scores": {"AP": 0.449}}], 500)
    said = [watcher.see(Evaluated(e, {"AP": ap}, True)) for e, ap in enumerate((0.4, 0.453, 0.46))]
    assert said[0] is said[2] is None
    assert said[1].level == "warning"
    assert "student (AP 0.453) has passed the teacher (0.449 on 200 val images)" in said[1].text
    assert "distill.stop_epoch=2" in said[1].text


def test_kd15_a_teacher_that_was_not_judged_cannot_be_passed():
    for record in ({"scores": None}, {}):
        assert Passed([record], 10).see(Evaluated(0, {"AP": 0.9}, True)) is None


def test_kd16_kd17_student_and_teacher_see_the_same_tensor():
    """Also behind a change of size: nothing is converted, read or augmented twice."""
    run = list(make_run(Plan(epochs=1, steps=4, batch=2)))
    task, inner, seen = run[1], run[2].panel, {"student": [], "teacher": []}

    def panel(images):
        seen["teacher"].append(images)
        return inner(images)

    task.student.register_forward_pre_hook(lambda _, given: seen["student"].append(given[0]))
    run[2].panel = panel
    list(fit(*run, resize=multi_scale(64, 32, seed=0)))
    assert len(seen["teacher"]) == 4
    pairs = zip(seen["student"], seen["teacher"], strict=True)
    assert all(mine is theirs for mine, theirs in pairs)
    assert len({images.shape for images in seen["teacher"]}) > 1
