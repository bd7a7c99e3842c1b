"""From a model and a source to the detections of each picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.data import fitted_canvas, letterbox
from tutelage.deploy.runtime import open_model
from tutelage.deploy.sources import Frame, Source, read_frames
from tutelage.errors import ConfigError, nearest
from tutelage.evaluation.evaluate import to_original
from tutelage.evaluation.nms import nms
from tutelage.evaluation.predictor import Predictor
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector
from tutelage.structures import Detections

CONF, IOU, MAX_DETECTIONS, BATCH = 0.25, 0.45, 300, 8


class PredictedFrame(NamedTuple):
    """A picture and what was found on it, in its own pixels."""

    frame: Frame
    detections: Detections


def predict(
    model: str | Path | GraphDetector | Predictor,
    source: Source,
    *,
    conf: float = CONF,
    iou: float = IOU,
    image_size: int | None = None,
    classes: Sequence[str | int] | None = None,
    max_detections: int = MAX_DETECTIONS,
    agnostic: bool = False,
    augment: bool = False,
    half: bool = False,
    device: str = "auto",
    batch: int = BATCH,
) -> list[Detections]:
    """Return the detections of every picture of a source, in its order.

    Args:
        model: Run folder, weight file, ``.onnx``, OpenVINO ``.xml``, or a detector.
        source: An image, a video (one element per frame), a folder, a glob pattern, an RGB array
            ``(h, w, 3)`` uint8, or several of these. A file that cannot be read is told and has no
            element in the answer.
        conf: Detections must score more than this.
        iou: Overlap limit of the suppression.
        image_size: The longer side of the pictures, in pixels; None: that of the training.
        classes: Names or numbers of the classes wanted; None: all.
        max_detections: At most so many per picture, the best.
        agnostic: Let boxes of different classes suppress each other.
        augment: Three views of each picture; not with exported files.
        half: Compute in half precision on a GPU; not with exported files.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch: Pictures at a time, where they are of one shape.

    Raises:
        WeightsError: The model cannot be used.
        DataError: There is nothing to look at.
        ConfigError: A setting does not fit the model or the machine.
        MissingExtraError: The runtime of the file is not installed.
    """
    seen = predict_each(
        model,
        source,
        conf=conf,
        iou=iou,
        image_size=image_size,
        classes=classes,
        max_detections=max_detections,
        agnostic=agnostic,
        augment=augment,
        half=half,
        device=device,
        batch=batch,
    )
    return [each.detections for each in seen]


def predict_each(
    model: str | Path | GraphDetector | Predictor,
    source: Source,
    *,
    conf: float = CONF,
    iou: float = IOU,
    image_size: int | None = None,
    classes: Sequence[str | int] | None = None,
    max_detections: int = MAX_DETECTIONS,
    agnostic: bool = False,
    augment: bool = False,
    half: bool = False,
    device: str = "auto",
    batch: int = BATCH,
) -> Iterator[PredictedFrame]:
    """Yield pictures with their detections as they are found; arguments as in :func:`predict`.

    At most ``batch`` pictures are held in memory, however long a video is.
    """
    network = open_model(model, device, augment=augment, half=half)
    network.warn(conf)
    size = image_size if image_size is not None else network.image_size
    check_image_size(size, network.stride)
    wanted = _chosen(classes, network.names)
    class_map = None if wanted is None else {number: number for number in wanted}
    for canvas_hw, frames in _batches(read_frames(source), size, network.stride, batch):
        fitted = [letterbox(frame.image, canvas_hw) for frame in frames]
        images = _as_tensor([image for image, _ in fitted]).to(network.device)
        with torch.inference_mode():
            found = nms(
                network.run(images),
                conf=conf,
                iou=iou,
                max_detections=max_detections,
                agnostic=agnostic,
                class_map=class_map,
            )
        for frame, (_, geometry), detections in zip(frames, fitted, found, strict=True):
            original = to_original(detections, geometry)
            yield PredictedFrame(frame, original._replace(names=network.names))


def _batches(
    frames: Iterator[Frame], size: int, stride: int, most: int
) -> Iterator[tuple[tuple[int, int], list[Frame]]]:
    """Join pictures that follow each other and fit the same canvas ``(h, w)``."""
    held: list[Frame] = []
    canvas = (0, 0)
    for frame in frames:
        height, width = frame.image.shape[:2]
        fitted = fitted_canvas((width, height), size, stride)
        if held and (fitted != canvas or len(held) == most):
            yield canvas, held
            held = []
        canvas = fitted
        held.append(frame)
    if held:
        yield canvas, held


def _as_tensor(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Stack RGB pictures of one size to ``(b, 3, h, w)`` float32 in 0..1, channels-last."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def _chosen(classes: Sequence[str | int] | None, names: tuple[str, ...]) -> list[int] | None:
    """Return the numbers of the classes wanted.

    Raises:
        ConfigError: The model does not know one of them.
    """
    if classes is None:
        return None
    places = {name: number for number, name in enumerate(names)}
    places = {str(number): number for number in range(len(names))} | places
    unknown = [str(each) for each in classes if str(each) not in places]
    if unknown:
        listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise ConfigError(
            f"--classes {' '.join(unknown)}: the model does not know it.",
            fix=f"{nearest(unknown[0], names)} Classes: {listed}".strip(),
            code="C25",
        )
    return [places[str(each)] for each in classes]
