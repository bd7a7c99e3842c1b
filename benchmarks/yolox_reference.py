"""The published code of YOLOX beside ours: golden numbers for the tests, made by running it.

    python benchmarks/yolox_reference.py FOLDER

FOLDER holds the sources of YOLOX (github.com/Megvii-BaseDetection/YOLOX, Apache-2.0), of which the
network, its loss and two files of helpers are run; nothing of it has to be installed. Writes
``tests/golden/models/yolox-*.npz`` and ``tests/golden/losses/yolox.npz``; their README files say
what they hold.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
SIZES = {"yolox-nano": (0.33, 0.25, True), "yolox-tiny": (0.33, 0.375, False)}
SIDE, CLASSES = 96, 3
LAYERS = {  # row of our graph: module of the published one
    2: "backbone.backbone.dark2",
    4: "backbone.backbone.dark3",
    6: "backbone.backbone.dark4",
    8: "backbone.backbone.dark5.1",
    9: "backbone.backbone.dark5",
    10: "backbone.lateral_conv0",
    13: "backbone.C3_p4",
    17: "backbone.C3_p3",
    18: "backbone.bu_conv2",
    20: "backbone.C3_n3",
    23: "backbone.C3_n4",
}


def published(folder: Path) -> Any:
    """Import the published network without its package, whose ``__init__`` needs much more."""
    for name, part in (("yolox", ""), ("yolox.models", "models"), ("yolox.utils", "utils")):
        module = types.ModuleType(name)
        module.__path__ = [str(folder / "yolox" / part)]
        sys.modules[name] = module
    utils: Any = sys.modules["yolox.utils"]
    for file in ("boxes", "compat"):
        loaded = importlib.import_module(f"yolox.utils.{file}")
        vars(utils).update({name: getattr(loaded, name) for name in loaded.__all__})
    utils.visualize_assign = None
    log: Any = types.ModuleType("loguru")
    log.logger = types.SimpleNamespace(error=print)
    sys.modules["loguru"] = log
    files = ("yolo_head", "yolo_pafpn", "yolox")
    loaded = [importlib.import_module(f"yolox.models.{file}") for file in files]
    return types.SimpleNamespace(
        YOLOXHead=loaded[0].YOLOXHead, YOLOPAFPN=loaded[1].YOLOPAFPN, YOLOX=loaded[2].YOLOX
    )


def network(source: Any, depth: float, width: float, depthwise: bool, classes: int) -> nn.Module:
    """Build the published network as its training does."""
    channels = [256, 512, 1024]
    backbone = source.YOLOPAFPN(depth, width, in_channels=channels, depthwise=depthwise)
    head = source.YOLOXHead(classes, width, in_channels=channels, depthwise=depthwise)
    model = source.YOLOX(backbone, head)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03
    model.head.initialize_biases(0.01)
    return model


def fill(model: nn.Module) -> None:
    """Fill a network by the rule of ``tests/models/repeatable_weights.py``; the stem by 1/255."""
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.from_numpy(_filling(key, tuple(value.shape))))


def _filling(key: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    a = random.standard_normal(int(np.prod(shape))).reshape(shape)
    if key.endswith("running_var"):
        return 0.8 + 0.4 / (1 + np.exp(-a))
    if key.endswith("running_mean"):
        return 0.05 * a
    if key.endswith("weight") and (".bn." in key or a.ndim == 1):
        return 1 + 0.1 * a
    if a.ndim == 4:
        scale = 1 / 255 if ".stem." in key else 1
        return scale * a * np.sqrt(1.5 / np.prod(a.shape[1:]))
    return 0.05 * a


@torch.no_grad()
def graph(source: Any, name: str) -> dict[str, np.ndarray]:
    """Features, raw and decoded outputs of one size."""
    model = network(source, *SIZES[name], CLASSES)
    fill(model)
    model.eval()
    images = np.random.RandomState(7).uniform(0, 1, (2, 3, SIDE, SIDE)).astype(np.float32)
    seen: dict[str, Tensor] = {}
    for row, path in LAYERS.items():
        key = f"feature_{row}"
        model.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, y, key=key: seen.update({key: y})
        )
    raw: list[dict[str, Tensor]] = [{}, {}, {}]
    for part in ("reg", "obj", "cls"):
        for level in range(3):
            model.get_submodule(f"head.{part}_preds.{level}").register_forward_hook(
                lambda _m, _i, y, level=level, part=part: raw[level].update({part: y.clone()})
            )
    decoded = model(255 * torch.from_numpy(images).flip(1))
    arrays = {"decoded": decoded.numpy()}
    for level, parts in enumerate(raw):
        joined = torch.cat((parts["reg"], parts["obj"], parts["cls"]), 1)
        arrays[f"raw_{level}"] = joined.permute(0, 2, 3, 1)[:, None].numpy()
    for key, value in seen.items():
        arrays[f"{key}_shape"] = np.array(value.shape)
        arrays[f"{key}_sample"] = value[:1, :: max(1, value.shape[1] // 8)][:, :8].numpy()
    parameters = sum(p.numel() for p in model.parameters())
    meta = {"name": name, "classes": CLASSES, "image_size": SIDE, "parameters": parameters}
    keys = {key: list(value.shape) for key, value in model.state_dict().items()}
    return {**arrays, "meta": np.array(json.dumps(meta)), "keys": np.array(json.dumps(keys))}


class _Part(nn.Module):
    """Channels of the input, in place of the layers of a head."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.range = slice(start, stop)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.range]


def _bare_head(source: Any) -> Any:
    """The published head on raw outputs: without its layers."""
    head = source.YOLOXHead(CLASSES, 0.25)
    for name in ("stems", "cls_convs", "reg_convs"):
        setattr(head, name, nn.ModuleList(nn.Identity() for _ in range(3)))
    for name, part in (("reg", (0, 4)), ("obj", (4, 5)), ("cls", (5, 5 + CLASSES))):
        setattr(head, f"{name}_preds", nn.ModuleList(_Part(*part) for _ in range(3)))
    return head.train()


def losses(source: Any) -> dict[str, np.ndarray]:
    """Assignments, loss items and gradients on raw outputs that anyone can make again."""
    random = np.random.RandomState(11)
    height, width, images = 160, 128, 3
    raw = [
        torch.from_numpy(
            random.standard_normal((images, 8, height // s, width // s)).astype(np.float32)
        )
        for s in (8, 16, 32)
    ]
    for level in raw:  # boxes of three to four strides around the middle of their cells
        level[:, :4] = 0.4 * level[:, :4] + torch.tensor([0.5, 0.5, 1.2, 1.2])[:, None, None]
    centre = random.uniform(0.2, 0.8, (14, 2)) * [width, height]
    centre[4:8] = centre[3] + random.uniform(-24, 24, (4, 2))  # in each other's way
    size = np.exp(random.uniform(np.log(16), np.log(80), (14, 2)))
    low, high = (np.clip(x, 0, [width, height]) for x in (centre - size / 2, centre + size / 2))
    xyxy = np.concatenate((low, high), 1).round(2)
    xyxy[3] = xyxy[2]  # the same box twice
    xyxy[13] = [0, 0, 20, 12]  # at the corner
    label = random.randint(0, CLASSES, 14)
    label[3] = label[2]
    image = np.array([0] * 11 + [2] * 3)  # no box in image 1
    targets = np.column_stack((image, label, xyxy)).astype(np.float32)
    arrays: dict[str, np.ndarray] = {"targets": targets}
    cases = (("l1", targets, True), ("plain", targets, False), ("empty", targets[:0], True))
    for name, rows, l1 in cases:
        arrays |= {f"{name}_{k}": v for k, v in _loss(source, raw, rows, l1=l1).items()}
    return {key: x for key, x in arrays.items() if not key.startswith("plain_grad")}


def _loss(
    source: Any, raw: list[Tensor], targets: np.ndarray, *, l1: bool
) -> dict[str, np.ndarray]:
    head = _bare_head(source)
    head.use_l1 = l1
    maps = [x.clone().requires_grad_() for x in raw]
    images = len(maps[0])
    labels = torch.zeros(images, max(len(targets), 1), 5)
    rows = [np.flatnonzero(targets[:, 0] == i) for i in range(images)]
    for i, own in enumerate(rows):
        box = torch.from_numpy(targets[own, 2:])
        labels[i, : len(own), 0] = torch.from_numpy(targets[own, 1])
        labels[i, : len(own), 1:3] = (box[:, :2] + box[:, 2:]) / 2
        labels[i, : len(own), 3:] = box[:, 2:] - box[:, :2]
    cells = sum(x.shape[2] * x.shape[3] for x in maps)
    assigned = np.full((images, cells), -1)
    assign = head.get_assignments

    def recorded(index: int, *rest: Any) -> Any:
        found = assign(index, *rest)
        assigned[index, found[1].numpy()] = rows[index][found[3].numpy()]
        return found

    head.get_assignments = recorded
    found = head(maps, labels, torch.zeros(images, 3, 1, 1))
    found[0].backward()
    items = [float(torch.as_tensor(value).detach()) for value in found[:5]]
    grads = {f"grad_{i}": x.grad.numpy() for i, x in enumerate(maps)}
    return {"assigned": assigned.astype(np.int16), "items": np.array(items), **grads}


def main() -> None:
    """Write the golden files."""
    source = published(Path(sys.argv[1]))
    golden = ROOT / "tests" / "golden"
    for name in SIZES:
        np.savez_compressed(golden / "models" / f"{name}.npz", **graph(source, name))
    np.savez_compressed(golden / "losses" / "yolox.npz", **losses(source))


if __name__ == "__main__":
    main()
