"""KD-45 to KD-49: does the pair fit?"""

import pytest
from torch import nn

from tests.pitfalls.before_training import warnings_before_training
from tests.setup.small_tasks import make_batch, make_task
from tutelage.config.schema import MethodConfig
from tutelage.distill import build_methods
from tutelage.run.preflight.warnings import best_score, few_images


@pytest.mark.parametrize(("images", "told"), [(2, True), (3, True), (4, False)])
def test_kd49_methods_that_compare_images_need_some(images, told):
    said = list(few_images(make_task("spkd")[0].methods, images))
    assert bool(said) == told
    if told:
        assert said[0].startswith("spkd compares the images of a batch: it needs at least 4")
        assert f"there are {images}." in said[0]


def test_kd49_also_behind_a_resize_and_no_others():
    wrapped = build_methods([MethodConfig(name="spkd")], [[(4, 4)]], resize=True)
    assert len(list(few_images(nn.ModuleDict(wrapped), 1))) == 1
    assert not list(few_images(make_task("fgd")[0].methods, 1))


@pytest.mark.parametrize(("method", "warned"), [("sl2", True), ("bckd", True), ("fgd", False)])
def test_kd45_a_teacher_that_is_sure_of_nothing_is_told(method, warned):
    task, teacher = make_task(method)
    said = warnings_before_training(task, teacher)
    assert len(said) == warned
    if warned:
        assert "custom is hardly sure of anything in these images" in said[0]
        assert f"{method} will learn little" in said[0]


def test_kd45_a_sure_teacher_is_not_told():
    task, teacher = make_task("sl2")
    sharing = teacher.teachers[0]

    def sure(images, *, predictions):
        known = type(sharing).__call__(sharing, images, predictions=predictions)
        scores = known.predictions.objectness.clone()
        scores[:, 0], known.predictions.logits[:, 0] = 9.0, 9.0
        return known._replace(predictions=known.predictions._replace(objectness=scores))

    assert not warnings_before_training(task, Sure(teacher, sure))
    boxless = make_batch()._replace(targets=make_batch(boxes=0).targets)
    known = sharing(boxless.floating().images, predictions=True)
    assert best_score(known, boxless.targets) is None


class Sure:
    """Teachers of which the only one is sure of its first candidate."""

    def __init__(self, teachers, call):
        self.teachers, self._call = teachers.teachers, call

    def __call__(self, batch):
        return (self._call(batch.images, predictions=True),)
