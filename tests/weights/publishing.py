"""Dressing a model of ours as the published code pickles it: real files of every generation."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tutelage.models import GraphDetector

_HEADS = ("Detect", "IDetect", "IAuxDetect")


class Wardrobe:
    """Makes the classes that a file names; they can be pickled only inside :meth:`open`."""

    def __init__(self) -> None:
        self.classes: dict[tuple[str, str], type[nn.Module]] = {}

    def dress(self, module: nn.Module, name: str = "") -> nn.Module:
        """Return a twin of ``module`` of classes below ``models`` and ``torch.nn`` only."""
        kind = type(module)
        if isinstance(module, nn.Sequential | nn.ModuleList):
            twin: nn.Module = (
                nn.Sequential if isinstance(module, nn.Sequential) else nn.ModuleList
            )()
        elif kind.__module__.startswith("torch."):
            return module
        else:
            name = name or kind.__name__
            twin = self.made("models.yolo" if name in _HEADS else "models.common", name)
        for group in ("_parameters", "_buffers"):
            getattr(twin, group).update(getattr(module, group))
        for key, child in module.named_children():
            twin.add_module(key, self.dress(child))
        return twin.train(module.training)

    def made(self, home: str, name: str) -> nn.Module:
        """Return an object of the class ``home.name``."""
        kind = self.classes.get((home, name))
        if kind is None:
            kind = type(name, (nn.Module,), {"__module__": home})
            self.classes[home, name] = kind
        return kind()

    @contextmanager
    def open(self) -> Iterator[None]:
        """While this lasts, the classes can be found where they say they are."""
        homes = {part for home, _ in self.classes for part in (home.split(".")[0], home)}
        sys.modules.update({home: types.ModuleType(home) for home in homes})
        for (home, name), kind in self.classes.items():
            setattr(sys.modules[home], name, kind)
        try:
            yield
        finally:
            for home in homes:
                del sys.modules[home]


def published(detector: GraphDetector, wardrobe: Wardrobe, **fields: Any) -> nn.Module:
    """Return the model object of a checkpoint: as ``detector``, with what checkpoints carry.

    Args:
        detector: Gives tensors, yaml, names and strides.
        wardrobe: Makes the classes.
        fields: Attributes that replace those of the model object.
    """
    model = wardrobe.made("models.yolo", fields.pop("kind", "Model"))
    rows = [
        wardrobe.dress(row, _name(block.block))
        for row, block in zip(detector.model, detector.layers, strict=True)
    ]
    for index, row in enumerate(rows):
        row.i, row.f, row.type, row.np = index, -1, "models.common.Conv", 1  # type: ignore[assignment]
    head = rows[-1]
    strides = torch.tensor(detector.strides).float()
    head.stride, head.grid, head.nc = strides, [torch.zeros(1)] * len(strides), len(detector.names)  # type: ignore[assignment]
    model.model = nn.Sequential(*rows)
    standard = {
        "yaml": {**detector.arch, "ch": 3},
        "names": list(detector.names),
        "stride": strides,
        "nc": len(detector.names),
        "hyp": {"lr0": 0.01, "box": 0.05},
        "class_weights": torch.ones(len(detector.names), dtype=torch.float64),
    }
    for name, value in {**standard, **fields}.items():
        setattr(model, name, value)
    return model


def publish(detector: GraphDetector, path: Path, *, half: bool = True, **entries: Any) -> Path:
    """Write ``detector`` as a stripped checkpoint; ``entries`` are added to its dict."""
    wardrobe = Wardrobe()
    model = published(detector, wardrobe)
    content = {"epoch": -1, "model": model.half() if half else model, "optimizer": None, **entries}
    with wardrobe.open():
        torch.save(content, path)
    return path


def _name(block: str) -> str:
    return block.rpartition(".")[2]
