"""A model that is ready to find objects, whatever runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from tutelage.config import load_config
from tutelage.errors import ConfigError
from tutelage.models.build import is_architecture
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import read_checkpoint, restore, weight_file
from tutelage.structures import Predictions, height_width
from tutelage.weights.file_type import sniff
from tutelage.weights.store import load_header

_log = logging.getLogger(__name__)

DEFAULT_SIZE, LARGE_SIZE = 640, 1280  # pixels; the official models of stride 64 are made for 1280
LARGEST_SIZE = 8192  # that a file may ask for


class Predictor(NamedTuple):
    """A model that is ready to find objects, whatever runs it: torch or another runtime.

    Attributes:
        title: What it is called in messages.
        names: Class names.
        stride: Both sides of the images must be multiples of it.
        image_size: The size it was made for, in pixels.
        device: Where it expects its images.
        hardware: Where it runs, for people: ``cpu``, or the name of a GPU.
        run: Maps images ``(b, 3, h, w)`` in 0..1 to predictions in pixels of that canvas.
        network: What of this the runtime does, for timing.
        floor: It has no answers with lower scores: a suppression inside it drops them.
        random: It was never trained.
    """

    title: str
    names: tuple[str, ...]
    stride: int
    image_size: int
    device: torch.device
    hardware: str
    run: Callable[[Tensor], Predictions]
    network: Callable[[Tensor], object]
    floor: float = 0.0
    random: bool = False

    def warn(self, conf: float) -> None:
        """Tell what spoils its answers to a question for scores above ``conf``."""
        if self.random:
            _log.warning("%s has random weights: good for measuring only.", self.title)
        if conf < self.floor:
            _log.warning(
                "%s has its own suppression, which drops scores under %g: a lower threshold has no "
                "effect, and AP would be too low.",
                self.title,
                self.floor,
            )


def runnable(
    model: str | Path | GraphDetector,
    device: torch.device,
    *,
    augment: bool = False,
    half: bool = False,
) -> Predictor:
    """Make a checkpoint ready: folded, in evaluation mode, on its device.

    Args:
        model: Run folder, weight file, or a detector (which stays as it is).
        device: Where it is to run.
        augment: Three views of each image.
        half: Compute in half precision, which a GPU can do; decoding stays float32.

    Raises:
        WeightsError: The model cannot be read.
        ConfigError: Half precision on a CPU.
    """
    if half and device.type == "cpu":
        raise ConfigError(
            "--half needs a GPU.", fix="Leave it out, or give --device cuda.", code="C30"
        )
    detector = model if isinstance(model, GraphDetector) else restore(read_checkpoint(model))
    folded = detector.fused().eval().to(device)
    run = predictor(half_precision(folded) if half else folded, augment=augment)
    return Predictor(
        title=detector.arch_name if isinstance(model, GraphDetector) else str(model),
        names=detector.names,
        stride=max(detector.strides),
        image_size=trained_size(model, max(detector.strides)),
        device=device,
        hardware=hardware(device),
        run=run,
        network=run,
    )


def hardware(device: torch.device) -> str:
    """Return the name of a GPU, else the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def trained_size(model: str | Path | GraphDetector, stride: int) -> int:
    """Return the image size in a run's weights; for anything else the usual one of its stride."""
    usual = DEFAULT_SIZE if stride <= 32 else LARGE_SIZE
    if isinstance(model, GraphDetector) or is_architecture(model):
        return usual
    path = weight_file(model)
    size = load_header(path).get("image_size") if sniff(path) == "safetensors" else None
    return size if type(size) is int and 0 < size <= LARGEST_SIZE else usual


def half_precision(folded: GraphDetector) -> GraphDetector:
    """Turn a folded detector itself to half precision, all but its anchors."""
    anchors = dict(folded.head.named_buffers(recurse=False))
    folded.half()
    for name, exact in anchors.items():
        folded.head.register_buffer(name, exact)
    return folded


def predictor(detector: GraphDetector, *, augment: bool = False) -> Callable[[Tensor], Predictions]:
    """Return the function that maps images ``(b, 3, h, w)`` in 0..1 to a detector's predictions."""
    dtype = next(detector.parameters()).dtype

    def plain(images: Tensor) -> Predictions:
        raw = cast("tuple[Tensor, ...]", detector(images.to(dtype)).raw)  # the head was run
        return detector.decode(raw, height_width(images))

    def augmented(images: Tensor) -> Predictions:
        rows, _ = detector(images.to(dtype), augment=True)
        return from_rows(rows)

    return augmented if augment else plain


def from_rows(rows: Tensor) -> Predictions:
    """Return decoded rows ``(b, n, 5 + c)``, cx, cy, w, h and probabilities, as predictions."""
    half = rows[..., 2:4] / 2
    xyxy = torch.cat([rows[..., :2] - half, rows[..., :2] + half], -1)
    logits = torch.logit(rows[..., 4:].float(), eps=1e-7)
    level = torch.zeros(rows.shape[1], dtype=torch.int64)
    return Predictions(xyxy, logits[..., 1:], logits[..., 0], level)


def data_of(model: str | Path) -> str | None:
    """Return the data set that a run was trained on; None if that is not known."""
    path = Path(model)
    settings = (path if path.is_dir() else path.parent) / "config.yaml"
    return load_config(config_file=settings).config.data if settings.is_file() else None
