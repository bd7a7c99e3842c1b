"""Detections of a model on pictures, videos and streams."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.data import fitted_canvas, letterbox
from tutelage.deploy.picture_detections import PictureDetections
from tutelage.deploy.runtime import open_model
from tutelage.deploy.sources import Frame, PictureSource, read_frames
from tutelage.errors import ConfigError, nearest
from tutelage.evaluation.evaluate import to_original
from tutelage.evaluation.nms import nms
from tutelage.evaluation.predictor import Predictor
from tutelage.models.graph import GraphDetector
from tutelage.structures import Detections

CONF, IOU, MAX_DETECTIONS, BATCH = 0.25, 0.45, 300, 8


class PredictedFrame(NamedTuple):
    """A picture and its detections, in pixels of the picture."""

    frame: Frame
    detections: PictureDetections


def predict(
    model: str | Path | GraphDetector | Predictor,
    source: PictureSource,
    *,
    conf: float = CONF,
    iou: float = IOU,
    img_size: int | None = None,
    classes: Sequence[str | int] | None = None,
    max_det: int = MAX_DETECTIONS,
    agnostic_nms: bool = False,
    augment: bool = False,
    half: bool = False,
    device: str = "auto",
    batch_size: int = BATCH,
) -> list[PictureDetections]:
    """Return the detections of every picture of a source, in its order.

    There is one element per picture. That of a file that cannot be read is empty and says why,
    ``found.error``; it is logged, too.

    Args:
        model: Run folder, weight file, exported file, or a detector.
        source: An image, a video (one element per frame), a folder, a glob pattern, an RGB array
            ``(h, w, 3)`` uint8, or several of these. Cameras and streams: :func:`predict_each`.
        conf: Detections must score more than this.
        iou: Overlap limit of the suppression.
        img_size: The longer side of the pictures, in pixels; None: that of the training.
        classes: Names or numbers of the classes to keep; None: all.
        max_det: Limit per picture; the best are kept.
        agnostic_nms: Let boxes of different classes suppress each other.
        augment: Three views of each picture; not with exported files.
        half: Compute in half precision on a GPU; not with exported files.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Pictures of equal shape that are processed together.

    Raises:
        WeightsError: The model cannot be used.
        DataError: There is no readable picture.
        ConfigError: A setting is not possible with the model or the machine, or the source has no
            end.
        MissingExtraError: The runtime of the file is not installed.
    """
    predictions = predict_each(
        model,
        source,
        conf=conf,
        iou=iou,
        img_size=img_size,
        classes=classes,
        max_det=max_det,
        agnostic_nms=agnostic_nms,
        augment=augment,
        half=half,
        device=device,
        batch_size=batch_size,
    )
    found: list[PictureDetections] = []
    with closing(predictions):  # lets go of the camera
        for frame, detections in predictions:
            if frame.live:
                raise ConfigError(
                    f"{frame.title} has no end, so that there would never be a list.",
                    fix="Take one after another:  for frame, found in tutelage.predict_each(…)",
                    code="C25",
                )
            found.append(detections)
    return found


def predict_each(
    model: str | Path | GraphDetector | Predictor,
    source: PictureSource,
    *,
    conf: float = CONF,
    iou: float = IOU,
    img_size: int | None = None,
    classes: Sequence[str | int] | None = None,
    max_det: int = MAX_DETECTIONS,
    agnostic_nms: bool = False,
    augment: bool = False,
    half: bool = False,
    device: str = "auto",
    batch_size: int = BATCH,
) -> Generator[PredictedFrame, None, None]:
    """Yield each picture with its detections, ``frame.image`` and ``detections``.

    Arguments are those of :func:`predict`. The source may also be a camera, by its number, or a
    stream, by its address (``rtsp://…``): of one without an end the newest frame is taken, one
    after another. At most ``batch_size`` pictures are in memory, however long a video is.
    """
    network = open_model(model, device, augment=augment, half=half)
    network.warn(conf)
    size = network.size(img_size)
    numbers = _class_numbers(classes, network.names)
    class_map = None if numbers is None else {number: number for number in numbers}
    pictures = read_frames(source, image_range=network.image_range)
    stride = size if network.fixed else network.stride  # a multiple of the size: a square
    for canvas_hw, frames in _batches(pictures, size, stride, batch_size):
        if frames[0].error is not None:
            yield PredictedFrame(frames[0], _nothing(frames[0], network.names))
            continue
        fitted = [letterbox(frame.image, canvas_hw) for frame in frames]
        images = _as_tensor([image for image, _ in fitted]).to(network.device)
        with torch.inference_mode():
            batch_detections = nms(
                network.run(images),
                conf=conf,
                iou=iou,
                max_detections=max_det,
                agnostic=agnostic_nms,
                class_map=class_map,
            )
        for frame, (_, geometry), detections in zip(frames, fitted, batch_detections, strict=True):
            original = to_original(detections, geometry)
            yield PredictedFrame(frame, _of_frame(frame, original, network.names))


def _of_frame(frame: Frame, found: Detections, names: tuple[str, ...]) -> PictureDetections:
    return PictureDetections(
        found.xyxy,
        found.score,
        found.label,
        names,
        path=frame.path,
        frame=frame.number,
        error=frame.error,
        image=frame.image if frame.path is None and frame.number is None else None,
    )


def _nothing(frame: Frame, names: tuple[str, ...]) -> PictureDetections:
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    return _of_frame(frame, empty, names)


def _batches(
    frames: Iterator[Frame], size: int, stride: int, most: int
) -> Iterator[tuple[tuple[int, int], list[Frame]]]:
    """Group consecutive pictures that have the same canvas ``(h, w)``.

    Live frames do not wait for others; one that cannot be read is alone, its canvas is (0, 0).
    """
    group: list[Frame] = []
    canvas = (0, 0)
    for frame in frames:
        height, width = frame.image.shape[:2]
        readable = frame.error is None
        fitted = fitted_canvas((width, height), size, stride) if readable else (0, 0)
        if group and (fitted != canvas or len(group) == most):
            yield canvas, group
            group = []
        canvas = fitted
        group.append(frame)
        if frame.live or not readable:
            yield canvas, group
            group = []
    if group:
        yield canvas, group


def _as_tensor(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Stack RGB pictures of one size to ``(b, 3, h, w)`` float32 in 0..1, channels-last."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def _class_numbers(classes: Sequence[str | int] | None, names: tuple[str, ...]) -> list[int] | None:
    """Return the numbers of classes given by name or number.

    Raises:
        ConfigError: The model does not have one of them.
    """
    if classes is None:
        return None
    numbers = {str(number): number for number in range(len(names))}
    numbers |= {name: number for number, name in enumerate(names)}
    unknown = [str(each) for each in classes if str(each) not in numbers]
    if unknown:
        listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise ConfigError(
            f"--classes {' '.join(unknown)}: the model does not have this class.",
            fix=f"{nearest(unknown[0], names)} Classes: {listed}".strip(),
            code="C25",
        )
    return [numbers[str(each)] for each in classes]
