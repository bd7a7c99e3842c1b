"""The published code of YOLOv9 beside ours: golden numbers for the tests, made by running it.

    python benchmarks/yolov9_reference.py FOLDER

FOLDER holds the sources of github.com/MultimediaTechLab/YOLO (MIT), of which the network and its
loss are run, and needs einops and omegaconf besides. Writes ``tests/golden/models/yolov9-*.npz``
and ``tests/golden/losses/yolov9.npz``; their README files say what they hold.
"""

from __future__ import annotations

import json
import logging
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.models.repeatable_weights import normal_image, normal_of

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
BINS, CLASSES, STRIDES = 16, 3, (8, 16, 32)
SIDE, LOSS_SIDE = 64, 128
ROWS = {  # rows whose outputs are stored
    "yolov9-t": (0, 2, 3, 4, 8, 9, 15, 18, 21, 23, 26, 29),
    "yolov9-c": (0, 2, 3, 4, 9, 15, 18, 21, 24, 30, 31, 34),
}
BOXES = (
    (0, 1, 0.5, 0.5, 0.6, 0.7),
    (0, 0, 0.2, 0.3, 0.3, 0.35),
    (0, 2, 0.25, 0.33, 0.32, 0.3),
    (0, 2, 0.81, 0.8, 0.04, 0.05),
    (1, 2, 0.8, 0.2, 0.4, 0.3),
    (1, 1, 0.9, 0.9, 0.2, 0.2),
)
LOSS = {
    "objective": {"BCELoss": 0.5, "BoxLoss": 7.5, "DFLoss": 1.5},
    "aux": 0.25,
    "matcher": {"iou": "CIoU", "topk": 10, "factor": {"iou": 6.0, "cls": 0.5}},
}

Arrays = dict[str, np.ndarray]


def published(folder: Path) -> Any:
    """Import network and loss without their package, whose ``__init__`` needs much more."""
    stubs: dict[str, dict[str, Any]] = {
        "yolo": {"__path__": [str(folder / "yolo")]},
        "torchmetrics": {},
        "torchmetrics.detection": {"MeanAveragePrecision": None},
        "yolo.utils.logger": {"logger": logging.getLogger("yolo")},
        "yolo.tools": {"__path__": [str(folder / "yolo" / "tools")]},
        "yolo.tools.dataset_preparation": {"prepare_weight": None},
    }
    for name, contents in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    return types.SimpleNamespace(
        YOLO=import_module("yolo.model.yolo").YOLO,
        Vec2Box=import_module("yolo.utils.bounding_box_utils").Vec2Box,
        DualLoss=import_module("yolo.tools.loss_functions").DualLoss,
        OmegaConf=import_module("omegaconf").OmegaConf,
    )


def joined(level: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Join the three outputs of a level: ``(b, 4 bins + classes, ny, nx)``."""
    logits, bins, _ = level
    return torch.cat((bins.transpose(1, 2).flatten(1, 2), logits), 1)


def parted(raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three outputs of a level from what :func:`joined` returns."""
    bins, logits = raw.split((4 * BINS, CLASSES), 1)
    bins = bins.unflatten(1, (4, BINS)).transpose(1, 2)
    values = torch.arange(float(BINS)).view(1, BINS, 1, 1, 1)
    return logits, bins, (bins.softmax(1) * values).sum(1)


def padded(rows: Any, images: int, side: int) -> Tensor:
    """Return ``(images, most, 5)`` class and corners in pixels; class -1: none."""
    own = [[row for row in rows if row[0] == image] for image in range(images)]
    boxes = torch.zeros(images, max(map(len, own)), 5)
    boxes[..., 0] = -1
    for image, given in enumerate(own):
        for place, (_, label, cx, cy, w, h) in enumerate(given):
            corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
            boxes[image, place] = torch.tensor([label, *(side * x for x in corners)])
    return boxes


def losses(loss: Any, convert: Any, lead: Any, auxiliary: Any, boxes: Tensor, step: int) -> Arrays:
    """Return the loss, its gradients (every ``step``-th channel) and the matches."""
    levels = {"": lead, "aux_": auxiliary}
    levels = {k: [x.detach().clone().requires_grad_() for x in v] for k, v in levels.items()}
    converted = {name: convert([parted(x) for x in raw]) for name, raw in levels.items()}
    total, items = loss(converted["aux_"], converted[""], boxes)
    total.backward()
    found = {
        "loss": np.float64(total.item()),
        "items": np.array([items[f"Loss/{name}Loss"] for name in ("Box", "DFL", "BCE")]),
    }
    for name, raw in levels.items():
        found.update({f"{name}grad_{j}": x.grad[:, ::step].numpy() for j, x in enumerate(raw)})
        logits, _, xyxy = converted[name]
        aligned, valid = loss.loss.matcher(boxes, (logits.detach(), xyxy.detach()))
        scores, own = aligned.float().split((CLASSES, 4), -1)
        start = name or "lead_"
        found[f"{start}valid"] = valid.numpy()
        found[f"{start}quality"] = scores.sum(-1).numpy()
        found[f"{start}box"] = (own * valid[..., None]).numpy()
    return found


def network(code: Any, folder: Path, name: str) -> Arrays:
    """Return the arrays of a network."""
    path = folder / f"yolo/config/model/{name.removeprefix('yolo')}.yaml"
    config = code.OmegaConf.load(path)
    code.OmegaConf.set_struct(config, False)
    model = code.YOLO(config, CLASSES).eval()
    for key, value in model.state_dict().items():
        if value.is_floating_point() and "anc2vec" not in key:
            value.copy_(normal_of(key, value.shape))
    maps: dict[int, Tensor] = {}
    for row in ROWS[name]:
        model.model[row].register_forward_hook(
            lambda _m, _i, x, row=row: maps.update(
                {row: x if isinstance(x, Tensor) else torch.cat(tuple(x), 1)}
            )
        )
    images = normal_image(SIDE)
    with torch.no_grad():
        outputs = model(images)
    convert = code.Vec2Box(model, code.OmegaConf.create({"strides": STRIDES}), [SIDE] * 2, "cpu")
    logits, _, xyxy = convert(outputs["Main"])
    lead, auxiliary = ([joined(level) for level in outputs[part]] for part in ("Main", "AUX"))
    arrays: Arrays = {"xyxy": xyxy.numpy(), "scores": logits.sigmoid().numpy()}
    arrays |= {f"raw_{j}": x.numpy() for j, x in enumerate(lead)}
    arrays |= {f"aux_raw_{j}": x[:, ::8].numpy() for j, x in enumerate(auxiliary)}
    for row, x in maps.items():
        some = x[:, :: max(1, x.shape[1] // 4)][:, :4]
        every = [max(1, side // 8) for side in some.shape[2:]]
        arrays[f"feature_{row}_shape"] = np.array(x.shape)
        arrays[f"feature_{row}_sample"] = some[:, :, :: every[0], :: every[1]].numpy()
    loss = code.DualLoss(loss_config(code), convert)
    arrays |= losses(loss, convert, lead, auxiliary, padded(BOXES, 2, SIDE), 4)
    with torch.no_grad():
        trained = model.train()(images)
    raw = [joined(level) for part in ("Main", "AUX") for level in trained[part]]
    parameters = sum(p.numel() for key, p in model.named_parameters() if "anc2vec" not in key)
    meta = {
        "name": name, "nc": CLASSES, "image_size": SIDE, "parameters": parameters,
        "strides": STRIDES, "feature_rows": list(maps),
    }  # fmt: skip
    keys = {key: list(value.shape) for key, value in model.state_dict().items()}
    return arrays | {
        "targets": np.array(BOXES),
        "train_mode_means": np.array([[x.mean().item(), x.std().item()] for x in raw]),
        "meta": np.array(json.dumps(meta)),
        "keys": np.array(json.dumps(keys)),
    }


def loss_config(code: Any) -> Any:
    """Return the settings of the published loss."""
    sizes = {"dataset": {"class_num": CLASSES}, "model": {"anchor": {"reg_max": BINS}}}
    return code.OmegaConf.create({"task": {"loss": LOSS}, **sizes})


def random_outputs(code: Any) -> Arrays:
    """Return the arrays of sharp random outputs of three images, of which one has no boxes."""
    random = np.random.RandomState(11)

    def levels() -> list[Tensor]:
        made = []
        for side in (LOSS_SIDE // stride for stride in STRIDES):
            x = random.standard_normal((3, 4 * BINS + CLASSES, side, side))
            x[:, : 4 * BINS] *= 4
            x[:, 4 * BINS :] *= 2
            made.append(torch.from_numpy(x.astype(np.float32)))
        return made

    lead, auxiliary = levels(), levels()
    rows = []
    for number in range(40):
        image = int(random.randint(0, 3)) if number < 38 else 0
        size, place = random.uniform(0.02, 0.7, 2), random.uniform(0.05, 0.95, 2)
        label = int(random.randint(0, 3))
        rows.append((2 if image == 1 else image, label, *place, *size))
    boxes = np.array(rows).astype(np.float32).tolist()
    strides = code.OmegaConf.create({"strides": STRIDES})
    convert = code.Vec2Box(nn.Identity(), strides, [LOSS_SIDE] * 2, "cpu")
    loss = code.DualLoss(loss_config(code), convert)
    arrays = losses(loss, convert, lead, auxiliary, padded(boxes, 3, LOSS_SIDE), 8)
    return arrays | {"targets": np.array(boxes)}


def main() -> None:
    """Run the published code and write the files."""
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    code = published(folder)
    for name in ROWS:
        np.savez_compressed(GOLDEN / "models" / f"{name}.npz", **network(code, folder, name))
    np.savez_compressed(GOLDEN / "losses" / "yolov9.npz", **random_outputs(code))


if __name__ == "__main__":
    main()
