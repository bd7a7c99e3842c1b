"""A head of another family is one class: nothing else in the package knows which head a graph has.

The toy head here has no anchors, no objectness, loss terms with names of their own and a state that
is settled before the first step. It trains, is distilled, goes on after a kill, and is exported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

import tutelage
from tests.data.write_dataset import NAMES
from tests.run.small_runs import interrupted, last, make_data, run, settings
from tutelage.config.schema import LossConfig
from tutelage.evaluation.validate import validate
from tutelage.losses import Criterion
from tutelage.models.build import build
from tutelage.models.heads import HEADS, Head
from tutelage.run.events import EpochDone, Finished, Planned
from tutelage.structures import Predictions, Targets
from tutelage.weights.store import load_best, save_best

GRAPH: dict[str, Any] = {
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "family": "yolov5",
    "backbone": [
        [-1, 1, "Conv", [8, 3, 4]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
    ],
    "head": [[-1, 1, "Conv", [24, 1, 1]], [[1, 2, 4], 1, "CentreHead", ["nc"]]],
}


class CentreHead(Head):
    """Every cell predicts the distances to the four sides of its object, and class scores."""

    def __init__(
        self,
        channels: Sequence[int],
        *,
        strides: Sequence[int],
        classes: int,
        family: str,
        reach: float,
    ) -> None:
        super().__init__()
        self.strides, self.classes, self.reach = tuple(strides), classes, reach
        self.convolutions = nn.ModuleList(nn.Conv2d(c, 4 + classes, 1) for c in channels)

    @classmethod
    def read_options(cls, arch: Mapping[str, Any], levels: int, faults: list[str]) -> dict:
        return {"reach": float(arch.get("reach", 1.0))}

    @classmethod
    def outputs(cls, classes: int, **options: Any) -> int:
        return 4 + classes

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        return tuple(conv(x) for conv, x in zip(self.convolutions, features, strict=True))

    def decode(self, raw: Sequence[Tensor]) -> Predictions:
        centres, wide = self.centres(raw), [level.float().flatten(2).mT for level in raw]
        distances = [
            F.softplus(level[..., :4]) * (stride * self.reach)
            for level, stride in zip(wide, self.strides, strict=True)
        ]
        corners = torch.cat(
            [
                torch.cat((xy - d[..., :2], xy + d[..., 2:]), -1)
                for xy, d in zip(centres, distances, strict=True)
            ],
            1,
        )
        values = torch.cat(wide, 1)
        sizes = [x.shape[2] * x.shape[3] for x in raw]
        return Predictions(
            xyxy=corners,
            logits=values[..., 4:],
            objectness=None,
            level=torch.cat([torch.full((n,), i) for i, n in enumerate(sizes)]),
            box_raw=values[..., :4],
            grids=tuple((x.shape[2], x.shape[3]) for x in raw),
        )

    def centres(self, raw: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(cells, 2)`` x and y in pixels per level."""
        found = []
        for level, stride in zip(raw, self.strides, strict=True):
            rows, columns = (torch.arange(n, device=level.device) for n in level.shape[2:])
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            found.append((torch.stack((x, y), -1).flatten(0, 1) + 0.5) * stride)
        return found

    def criterion(self, config: LossConfig, *, image_size: int) -> Criterion:
        return CentreCriterion(self, config.box)

    def training_state(self) -> dict[str, Any]:
        return {"reach": self.reach}

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        self.reach = state["reach"]

    def fit_anchors(self, search: Any) -> str:
        self.reach = 1.5
        return "reach of 1.5 cells"


class CentreCriterion(Criterion):
    """GIoU and binary cross-entropy at the cells whose centre lies in a box."""

    def __init__(self, head: CentreHead, gain: float) -> None:
        super().__init__()
        self.gain, self._decode, self._centres = gain, head.decode, head.centres

    def forward(
        self, raw: Sequence[Tensor], targets: Targets, image_size: tuple[int, int]
    ) -> dict[str, Tensor]:
        found, assigned = self._decode(tuple(raw)), self.answers(raw, targets)
        image, cell = torch.where(assigned >= 0)
        target = assigned[image, cell]
        wanted = torch.zeros_like(found.logits)
        wanted[image, cell, targets.label[target]] = 1
        overlap = generalized_box_iou_loss(found.xyxy[image, cell], targets.xyxy[target])
        return {
            "giou": self.gain * (overlap.sum() + 0 * found.xyxy.sum()) / max(len(target), 1),
            "class_bce": F.binary_cross_entropy_with_logits(found.logits, wanted),
        }

    @torch.no_grad()
    def answers(self, raw: Sequence[Tensor], targets: Targets) -> Tensor:
        centres = torch.cat(self._centres(raw))
        inside = (centres > targets.xyxy[:, None, :2]) & (centres < targets.xyxy[:, None, 2:])
        box, cell = torch.where(inside.all(-1))
        assigned = torch.full((len(raw[0]), len(centres)), -1)
        assigned[targets.image[box], cell] = box
        return assigned


def make_teacher(path: Path) -> str:
    """Write a wider network with the same kind of head."""
    torch.manual_seed(1)
    net = build({**GRAPH, "width_multiple": 2.0}, NAMES)
    meta = {"arch": net.arch, "arch_name": "centre", "names": NAMES, "image_size": 64}
    save_best(path, net.state_dict(), meta)
    return str(path)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Settings of a run of the toy head, taught by features and by responses."""
    monkeypatch.setitem(HEADS, "CentreHead", CentreHead)
    graph = tmp_path / "centre.yaml"
    graph.write_text(yaml.safe_dump(GRAPH))
    return settings(
        make_data(tmp_path / "data"),
        tmp_path / "runs",
        model={"arch": str(graph)},
        train={"epochs": 3, "batch": 4, "patience": 0},
        distill={
            "teacher": make_teacher(tmp_path / "teacher.safetensors"),
            "accept_teacher": True,
            "methods": [{"name": "fgd", "weight": 0.01}, {"name": "bckd", "weight": 1.0}],
        },
    )


def test_it_trains_is_distilled_and_plans_say_what_it_settled(config):
    events = run(config)
    assert dict(last(events, Planned).rows)["anchors"] == "reach of 1.5 cells"
    folder = last(events, Finished).folder
    rows = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    detection = {"giou", "class_bce"}
    for row in rows:
        terms = {name: row[name] for name in row if name in detection or "/" in name}
        assert detection < set(terms)
        assert {name.partition("/")[0] for name in terms if "/" in name} == {"fgd", "bckd"}
        assert all(math.isfinite(value) and value > 0 for value in terms.values())
    assert rows[-1]["class_bce"] < rows[0]["class_bce"]
    tensors, meta = load_best(f"{folder}/best.safetensors")
    assert meta["arch"]["reach"] == 1.5
    model = tutelage.load(folder)
    assert model.head.reach == 1.5
    assert tensors.keys() == model.state_dict().keys()
    assert pytest.approx(last(events, Finished).best["AP"]) == validate(folder, data=config.data).AP


def test_it_goes_on_where_it_was_killed(config, monkeypatch):
    whole = run(config)
    folder = interrupted(config, epoch=1, step=1)
    fitted = []
    monkeypatch.setattr(CentreHead, "fit_anchors", lambda self, search: fitted.append(self.reach))
    run(config, resume=folder)
    assert fitted == [1.5]  # as stored, and nothing is searched for
    expected, meta = load_best(f"{last(whole, Finished).folder}/best.safetensors")
    found, other = load_best(f"{folder}/best.safetensors")
    assert meta["arch"] == other["arch"]
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_it_starts_from_weights_of_another_number_of_classes(config, tmp_path):
    folder = last(run(config), EpochDone) and last(run(config), Finished).folder
    model = tutelage.load(folder, names=["cat", "dog", "owl"])
    assert model.head.convolutions[0].out_channels == 7
    assert torch.equal(model.model[0].conv.weight, tutelage.load(folder).model[0].conv.weight)
    assert list(tutelage.load(folder).names) == NAMES


def test_it_is_exported_and_verified(config, tmp_path):
    folder = last(run(config), Finished).folder
    result = tutelage.export(folder, to="onnx", data=config.data)
    found = tutelage.predict(result.path, str(tmp_path / "data/images/train/000.png"))
    ours = tutelage.predict(folder, str(tmp_path / "data/images/train/000.png"))
    torch.testing.assert_close(found[0].xyxy, ours[0].xyxy, atol=0.01, rtol=0)
