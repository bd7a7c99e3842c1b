"""KD-41 to KD-44: boxes and masks."""

import pytest
import torch

from tests.setup.small_tasks import make_batch, make_task
from tutelage.distill.masks import object_masks
from tutelage.errors import TeacherError
from tutelage.run.preflight.wiring import check_wiring
from tutelage.structures import Targets


def check(xyxy):
    task, teacher = make_task()
    batch = make_batch()
    targets = batch.targets._replace(xyxy=batch.targets.xyxy.clone())
    targets.xyxy[: len(xyxy)] = torch.tensor(xyxy)
    check_wiring(task, teacher, batch._replace(targets=targets))


def test_kd41_boxes_in_another_frame_are_found():
    outside = [[10.0, 10, 300, 40], [-9.0, 5, 20, 20]]
    with pytest.raises(TeacherError, match=r"2 of 6 boxes lie outside their image of 64×64 px"):
        check(outside)


def test_kd41_rounding_is_no_fault():
    check([[-0.05, 0, 20, 64.05]])


def test_kd43_each_image_has_its_own_mask_with_all_of_its_boxes():
    """A composite: two boxes from two sources in one image, one in the next, none in the last."""
    boxes = torch.tensor([[0.0, 0, 15, 15], [48, 48, 63, 63], [0, 48, 15, 63]])
    targets = Targets(torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.int64), boxes)
    foreground, background = object_masks(targets, 3, (4, 4), (64, 64))
    inked = [sorted(map(tuple, m[0].nonzero().tolist())) for m in foreground]
    assert inked == [[(0, 0), (0, 1), (1, 0), (1, 1), (3, 3)], [(3, 0), (3, 1)], []]
    assert torch.equal((foreground == 0).sum((1, 2, 3)), torch.tensor([11, 14, 16]))
    assert torch.allclose(background.sum((1, 2, 3)), torch.ones(3))
