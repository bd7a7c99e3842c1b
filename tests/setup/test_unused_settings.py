"""Settings of the loss that a head does not read are named once, with where they came from."""

from __future__ import annotations

import torch

from tutelage.config.schema import Config
from tutelage.models import build
from tutelage.setup.unused_settings import unused_loss_settings

ORIGINS = {
    "loss.box": "hyp.yaml:3",
    "loss.obj": "hyp.yaml:4",
    "loss.cls": "preset v7-p5",
    "loss.assigner": "--set",
    "optim.lr": "hyp.yaml:1",
}


def test_they_are_named_by_their_origin() -> None:
    with torch.device("meta"):
        heads = [build(name, ["a"]).head for name in ("yolox-nano", "yolov7-tiny")]
    found = [list(unused_loss_settings(head, Config(), ORIGINS)) for head in heads]
    assert found == [
        [
            "loss.box, loss.obj (hyp.yaml): no effect, YOLOXHead has a loss of its own",
            "loss.assigner (--set): no effect, YOLOXHead has a loss of its own",
        ],
        [],
    ]
    assert not list(unused_loss_settings(heads[0], Config(), None))
