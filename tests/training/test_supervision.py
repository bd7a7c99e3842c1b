"""What teachers add to a batch: pseudo-boxes on images without labels, who teaches what."""

import pytest
import torch

from tests.setup.small_tasks import make_batch, make_task
from tutelage.structures import Knowledge, Predictions
from tutelage.teachers import Teachers
from tutelage.training.supervision import SupervisedBatch, TeacherSupervision, pseudo_boxes

BOX, OTHER = [10.0, 10, 30, 30], [40.0, 40, 60, 60]


def sees(*candidates, objectness=None):
    """Return predictions of one image per list of (box, log-odds per class)."""
    xyxy = torch.tensor([[box for box, _ in one] for one in candidates])
    logits = torch.tensor([[odds for _, odds in one] for one in candidates])
    seen = None if objectness is None else torch.full(logits.shape[:2], objectness)
    return Predictions(xyxy, logits, seen, torch.zeros(xyxy.shape[1]).long())


ONE = sees([(BOX, [3.0, -3.0]), (BOX, [2.0, -3.0])], [(OTHER, [-3.0, 0.1]), (BOX, [-3.0, -3.0])])


class FakeTeachers:
    def __init__(self, *predictions):
        self.known, self.calls = predictions, 0

    def __call__(self, batch, wanted=None):
        self.calls += 1
        maps = (torch.zeros(len(batch.ids), 1, 2, 2),)
        return tuple(Knowledge(maps, predictions) for predictions in self.known)


def test_what_the_teacher_is_sure_of_once_per_object():
    found = pseudo_boxes([ONE], [[0, 1]], 0.5)
    assert found.image.tolist() == [0, 1]
    assert found.label.tolist() == [0, 1]
    assert found.xyxy.tolist() == [BOX, OTHER]
    assert pseudo_boxes([ONE], [[0, 1]], 0.9).image.tolist() == [0]


def test_classes_are_those_of_the_data():
    found = pseudo_boxes([ONE], [[-1, -1, 1, 0]], 0.5)
    assert found.label.tolist() == [3, 2]
    assert pseudo_boxes([ONE], [[-1, 1]], 0.5).image.tolist() == [1]
    assert len(pseudo_boxes([ONE], [[-1, -1]], 0.5).image) == 0


def test_several_teachers_do_not_count_an_object_twice():
    assert pseudo_boxes([ONE, ONE], [[0, 1], [0, 1]], 0.5).image.tolist() == [0, 1]
    assert sorted(pseudo_boxes([ONE, ONE], [[0, 1], [1, 0]], 0.5).label.tolist()) == [0, 0, 1, 1]


def test_objectness_counts_and_of_one_class_it_alone():
    assert (
        len(pseudo_boxes([ONE._replace(objectness=torch.full((2, 2), -2.0))], [[0, 1]], 0.5)[0])
        == 0
    )
    single = sees([(BOX, [-4.0])], objectness=2.0)
    assert len(pseudo_boxes([single], [[0]], 0.5).image) == 1


def batch():
    made = make_batch(images=2, boxes=1)
    labelled = made.targets.image == 0
    targets = type(made.targets)(*(field[labelled] for field in made.targets))
    return made._replace(targets=targets, ids=torch.tensor([3, 8]))


def supervise(score):
    return TeacherSupervision(FakeTeachers(ONE), [[0, 1]], first_unlabelled=8, pseudo_label=score)


def test_boxes_only_where_there_are_no_labels():
    supervision = supervise(0.5)
    supervised = supervision(batch())
    assert supervised.batch.targets.image.tolist() == [0, 1]
    assert supervised.batch.targets.xyxy[1].tolist() == OTHER
    assert supervised.labelled_count is None
    assert supervised.knowledge is not None


def test_without_pseudo_boxes_these_images_are_left_out_of_detection():
    supervision = supervise(1.0)
    supervised = supervision(batch())
    assert supervised.labelled_count == 1
    assert supervised.batch.targets.image.tolist() == [0]
    task, teachers = make_task()
    task.eval()
    made = batch()
    first = made._replace(images=made.images[:1], ids=made.ids[:1])
    whole = task(SupervisedBatch(made, teachers(made), labelled_count=1))
    alone = task(SupervisedBatch(first))
    for name, value in alone.detection.items():  # half: the objective multiplies by two images
        torch.testing.assert_close(whole.detection[name], value / 2)


@pytest.mark.parametrize(("labelled", "calls"), [(None, 0), (8, 1)])
def test_a_silent_teacher_is_asked_for_boxes_only(labelled, calls):
    teachers = FakeTeachers(ONE)
    options = {"first_unlabelled": labelled, "pseudo_label": 0.5}
    supervised = TeacherSupervision(teachers, [[0, 1]], **options)(batch(), [])
    assert teachers.calls == calls
    assert supervised.knowledge is None


def test_each_image_is_left_to_one_teacher():
    blind = sees([(BOX, [-9.0, -9.0])], [(BOX, [-9.0, -9.0])])
    supervision = TeacherSupervision(FakeTeachers(ONE, blind), [[0, 1], [0, 1]], pick=True)
    empty = batch()._replace(targets=type(batch().targets)(*(f[:0] for f in batch().targets)))
    assert supervision(empty).teacher_of_image.tolist() == [1, 1]  # no boxes: the least sure one
    supervision = TeacherSupervision(FakeTeachers(ONE, blind), [[0, 1], [0, 1]])
    assert supervision(empty).teacher_of_image is None


def test_teachers_to_which_nobody_listens_rest():
    class Counting(FakeTeachers):
        def __call__(self, batch, wanted=None):
            self.wanted = wanted
            return super().__call__(batch)

    teachers = Counting(ONE, ONE)
    needs = {"fgd@1": (0, False), "bckd@1": (0, True), "fgd@2": (1, False)}
    supervision = TeacherSupervision(teachers, [[0, 1], [0, 1]], needs=needs)
    supervision(batch(), ["fgd@1", "bckd@1"])
    assert teachers.wanted == {0: True}
    supervision(batch(), ["fgd@1", "fgd@2"])
    assert teachers.wanted == {0: False, 1: False}
    TeacherSupervision(teachers, [[0, 1], [0, 1]], needs=needs, pick=True)(batch(), ["fgd@1"])
    assert teachers.wanted is None  # all are compared


def test_a_resting_teacher_does_not_run():
    teacher = make_task()[1].teachers[0]
    both = Teachers([teacher, teacher], [False, True])
    first, second = both(make_batch(), {1: False})
    assert first.features == ()
    assert second.predictions is None
    assert len(second.features) == 3
