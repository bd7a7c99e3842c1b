"""Settings of the loss that a head does not read are named once, with where they came from."""

from __future__ import annotations

import torch

from tutelage.config.schema import Config
from tutelage.models import build
from tutelage.setup.unused_settings import unused_loss_settings

ORIGINS = {
    "loss.box": "hyp.yaml:3, box",
    "loss.obj": "hyp.yaml:4, obj",
    "loss.scaling": "hyp.yaml:4, obj",
    "loss.assigner": "hyp.yaml:9, loss_ota",
    "loss.cls": "preset v7-p5",
    "loss.anchor_t": "run.yaml:7",
    "loss.fl_gamma": "--set",
    "optim.lr": "hyp.yaml:1, lr0",
}


def test_they_are_named_as_they_were_given() -> None:
    with torch.device("meta"):
        students = [build(name, ["a"]) for name in ("yolox-nano", "yolov7-tiny")]
    found = [list(unused_loss_settings(student, Config(), ORIGINS)) for student in students]
    told = "no effect, yolox-nano has a loss of its own"
    assert [sorted(each) for each in found] == [
        [
            f"box, obj, loss_ota (hyp.yaml): {told}",
            f"loss.anchor_t (run.yaml): {told}",
            f"loss.fl_gamma (--set): {told}",
        ],
        [],
    ]
    assert not list(unused_loss_settings(students[0], Config(), None))
