"""A model ready for inference, in torch or another runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from tutelage.config import load_config
from tutelage.data.bit_depth import ImageRange
from tutelage.data.digits import VARIANTS
from tutelage.errors import ConfigError, DataError
from tutelage.losses.boxes import corners
from tutelage.models.detector import Detector, check_image_size
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import read_checkpoint, restore
from tutelage.structures import Predictions, height_width

_log = logging.getLogger(__name__)

DEFAULT_SIZE, LARGE_SIZE = 640, 1280  # pixels; the official models of stride 64 are made for 1280


class Predictor(NamedTuple):
    """A model ready for inference, in torch or another runtime.

    Attributes:
        title: Its name in messages.
        names: Class names.
        stride: Both sides of the images must be multiples of it.
        image_size: The size it was trained with, in pixels.
        device: Where it expects its images.
        hardware: ``cpu``, or the name of the GPU on which it runs.
        run: Maps images ``(b, 3, h, w)`` in 0..1 to predictions in pixels of that canvas.
        network: The part of ``run`` that the runtime computes, for timing.
        floor: The score threshold of an NMS inside it.
        random: Whether its weights are untrained.
        image_range: The values that were black and white in its training.
        fixed: Whether it takes squares of ``image_size`` only.
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
    image_range: ImageRange | None = None
    fixed: bool = False

    def size(self, wanted: int | None) -> int:
        """Return the wanted image size, or its own for None.

        Raises:
            ConfigError: It does not take this size.
        """
        size = wanted if wanted is not None else self.image_size
        check_image_size(size, self.stride)
        if self.fixed:
            check_fixed_size(self.title, size, self.image_size)
        return size

    def warn(self, conf: float) -> None:
        """Warn of random weights, and of an NMS inside it with a higher threshold than ``conf``."""
        if self.random:
            _log.warning("%s has random weights: good for measuring only.", self.title)
        if conf < self.floor:
            _log.warning(
                "%s has its own suppression, which drops scores under %g: a lower threshold has no "
                "effect, and AP would be too low.",
                self.title,
                self.floor,
            )


def load_predictor(
    model: str | Path | GraphDetector,
    device: torch.device,
    *,
    augment: bool = False,
    half: bool = False,
) -> Predictor:
    """Load a checkpoint for inference: fused, in evaluation mode, on its device.

    Args:
        model: Run folder, weight file, or a detector (not modified).
        device: Where it runs.
        augment: Three views of each image.
        half: Compute in half precision on a GPU; decoding stays float32.

    Raises:
        WeightsError: The model cannot be read.
        ConfigError: Half precision on a CPU.
    """
    if half and device.type == "cpu":
        raise ConfigError(
            "--half needs a GPU.", fix="Leave it out, or give --device cuda.", code="C30"
        )
    detector = model if isinstance(model, GraphDetector) else restore(read_checkpoint(model))
    fused = detector.fused().eval().to(device)
    run = predictor(half_precision(fused) if half else fused, augment=augment)
    return Predictor(
        title=detector.arch_name if isinstance(model, GraphDetector) else str(model),
        names=detector.names,
        stride=max(detector.strides),
        image_size=trained_size(detector),
        device=device,
        hardware=hardware(device),
        run=run,
        network=run,
        image_range=trained_range(detector),
    )


def check_fixed_size(title: str, size: int, only: int) -> None:
    """Raise if a file whose shapes are fixed does not take images of a size.

    Raises:
        ConfigError: It takes those of another size.
    """
    if size != only:
        raise ConfigError(
            f"--img-size {size}: {title} takes {only} only, its shapes are fixed.",
            fix=f"Export its checkpoint again, with  --img-size {size}",
            code="C17",
        )


def hardware(device: torch.device) -> str:
    """Return the name of a GPU, else the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def trained_size(detector: Detector) -> int:
    """Return the image size of a detector's training, else the default of its stride."""
    default = DEFAULT_SIZE if max(detector.strides) <= 32 else LARGE_SIZE
    return detector.image_size or default


def trained_range(detector: Detector) -> ImageRange | None:
    """Return the values that were black and white in a detector's training, if it knows."""
    match detector.metadata.get("image_range"):
        case [int() | float() as black, int() | float() as white] if black < white:
            return black, white
        case _:
            return None


def half_precision(fused: GraphDetector) -> GraphDetector:
    """Convert a fused detector in place to half precision, all but its anchors."""
    anchors = dict(fused.head.named_buffers(recurse=False))
    fused.half()
    for name, anchor in anchors.items():
        fused.head.register_buffer(name, anchor)
    return fused


def predictor(detector: GraphDetector, *, augment: bool = False) -> Callable[[Tensor], Predictions]:
    """Return a function from images ``(b, 3, h, w)`` in 0..1 to a detector's predictions."""
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
    xyxy = corners(rows[..., :4])
    logits = torch.logit(rows[..., 4:].float(), eps=1e-7)
    level = torch.zeros(rows.shape[1], dtype=torch.int64)
    return Predictions(xyxy, logits[..., 1:], logits[..., 0], level)


def training_data(model: str | Path, *, must_exist: bool = False) -> str | None:
    """Return the data set that a run was trained on, as it is found from here; None if unknown.

    Args:
        model: Run folder, or a file in it.
        must_exist: Raise if it is not there.

    Raises:
        DataError: It is not there.
    """
    path = Path(model)
    settings = (path if path.is_dir() else path.parent) / "config.yaml"
    data = load_config(config_file=settings).config.data if settings.is_file() else None
    missing = data is not None and data not in VARIANTS and not Path(data).expanduser().exists()
    if missing and must_exist:
        raise DataError(
            f"{data} does not exist: {settings} names it as the data of this run.",
            fix="Give its place:  --data data.yaml",
            code="D22",
        )
    return data
