"""Detections as files: annotated pictures and videos, YOLO label files, COCO JSON."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from itertools import chain, count
from pathlib import Path
from typing import Any

import cv2

from tutelage.data.formats.coco import category_ids
from tutelage.data.formats.coco_json import read_coco
from tutelage.deploy.picture_detections import draw_detections
from tutelage.deploy.predict import PredictedFrame
from tutelage.deploy.sources import Frame
from tutelage.errors import ConfigError
from tutelage.files import atomic_write, atomic_write_text

VIDEO = ".mp4"


class Writer(ABC):
    """Writes predictions on pictures that could be read."""

    @abstractmethod
    def add(self, prediction: PredictedFrame) -> None:
        """Write a picture's detections, or keep them for :meth:`close`."""

    def close(self) -> None:  # noqa: B027  (most files are complete at once)
        """Finish all files."""


class _OutputPaths:
    """Output paths that are unique per source file, even for equal names."""

    def __init__(self, option: str, folder: str | Path) -> None:
        self.folder = _checked(option, Path(folder))
        self._owners: dict[Path, str] = {}

    def of(self, frame: Frame, suffix: str) -> Path:
        """Return ``a.txt`` for ``a.jpg``, and ``a.png.txt`` for a later ``a.png``."""
        path = self.folder / frame.name
        names = [path.with_suffix(suffix), path.with_name(path.name + suffix)]
        more = (path.with_name(f"{path.name}-{i}{suffix}") for i in count(2))
        return next(
            each
            for each in chain(names, more)
            if self._owners.setdefault(each, frame.title) == frame.title
        )


class PictureWriter(Writer):
    """Annotated pictures and videos in a folder.

    Args:
        folder: The folder; created if needed.

    Raises:
        ConfigError: It is not a folder, or cannot be written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self._paths = _OutputPaths("--save", folder)
        self.folder = self._paths.folder
        self._writer: cv2.VideoWriter | None = None
        self._source: str | None = None

    def add(self, prediction: PredictedFrame) -> None:
        """Write a picture, or a frame of a video.

        Raises:
            ConfigError: The source would be overwritten, or a video cannot be written.
        """
        frame = prediction.frame
        target = self._paths.of(frame, _suffix(frame))
        path = frame.path
        if path is not None and path.exists() and target.resolve() == path.resolve():
            raise ConfigError(f"--save {self.folder} would overwrite {path}.", code="C29")
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.cvtColor(
            draw_detections(frame.image, prediction.detections), cv2.COLOR_RGB2BGR
        )
        if frame.number is None:
            self.close()
            encoded = cv2.imencode(target.suffix, picture)[1].tobytes()
            atomic_write(target, lambda file: file.write(encoded))
        else:
            self._film(frame, target, picture)

    def close(self) -> None:
        """Finish the video that is being written."""
        if self._writer is not None:
            self._writer.release()
            self._hidden.replace(self._target)
            self._writer = self._source = None

    def _film(self, frame: Frame, target: Path, picture: Any) -> None:
        if frame.title != self._source:
            self.close()
            self._source, self._target = frame.title, target
            self._written, self._size = (frame.number or 0) - 1, picture.shape[1::-1]
            self._hidden = target.with_name(f".{target.stem}.tmp{VIDEO}")
            width, height = self._size
            self._hidden.touch()  # raises the reason if it cannot be written; OpenCV does not
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._hidden), code, frame.rate, self._size)
            if not self._writer.isOpened():
                self._hidden.unlink()
                self._writer = self._source = None
                raise ConfigError(
                    f"{target} cannot be written: no video of {width}x{height}.", code="C29"
                )
        if self._writer is None:
            return
        if picture.shape[1::-1] != self._size:  # OpenCV would leave it out
            picture = cv2.resize(picture, self._size)
        number = frame.number or 0
        for _ in range(number - self._written):  # a live stream's skipped frames: keeps its pace
            self._writer.write(picture)
        self._written = number


class LabelWriter(Writer):
    """One YOLO label file per picture or frame: class, cx, cy, w, h as shares of the picture.

    Args:
        folder: The folder; created if needed.
        scores: Add the score as a sixth column.

    Raises:
        ConfigError: It is not a folder, or cannot be written to.
    """

    def __init__(self, folder: str | Path, *, scores: bool = False) -> None:
        self._paths, self.scores = _OutputPaths("--save-txt", folder), scores

    def add(self, prediction: PredictedFrame) -> None:
        """Write a label file; empty without detections."""
        frame, detections = prediction
        height, width = frame.image.shape[:2]
        x1, y1, x2, y2 = (detections.xyxy.cpu().numpy() / [width, height, width, height]).T
        columns = [detections.label.cpu().numpy(), (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        columns += [detections.score.cpu().numpy()] if self.scores else []
        lines = [
            " ".join([f"{int(label)}", *(f"{value:.6f}" for value in values)]) + "\n"
            for label, *values in zip(*columns, strict=True)
        ]
        target = self._paths.of(frame, ".txt")
        if frame.number is not None:
            target = target.with_stem(f"{target.stem}_{frame.number:06d}")
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(target, "".join(lines))


class CocoWriter(Writer):
    """All detections as one COCO file, which ``pycocotools.coco.COCO`` reads.

    Args:
        path: The file.
        source: The COCO json that the pictures come from, whose ids of images and categories are
            used; None: both are numbered from 0.

    Raises:
        ConfigError: It is a folder, or cannot be written.
        DataError: ``source`` is no COCO json.
    """

    def __init__(self, path: str | Path, source: Path | None = None) -> None:
        self._source = None if source is None else read_coco(source)
        self.path = Path(path)
        if self.path.is_dir():
            raise ConfigError(f"--save-json {path} is a folder; give a file.", code="C29")
        _checked("--save-json", self.path.parent)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._names: tuple[str, ...] = ()

    def add(self, prediction: PredictedFrame) -> None:
        """Collect the detections of a picture."""
        frame, detections = prediction
        height, width = frame.image.shape[:2]
        image: dict[str, Any] = {"id": self._image_id(frame), "file_name": frame.name.as_posix()}
        image |= {"width": width, "height": height}
        self._images.append(image if frame.number is None else image | {"frame": frame.number})
        self._names = detections.names
        categories = self._category_ids()
        for (x1, y1, x2, y2), score, label, _ in detections:
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image["id"],
                    "category_id": categories[label],
                    "bbox": box,
                    "area": round(box[2] * box[3], 3),
                    "iscrowd": 0,
                    "score": round(score, 6),
                }
            )

    def close(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"images": self._images, "annotations": self._annotations}
        names = zip(self._category_ids(), self._names, strict=True)
        content["categories"] = [{"id": number, "name": name} for number, name in names]
        atomic_write_text(self.path, json.dumps(content))

    def _image_id(self, frame: Frame) -> int | str:
        known = self._source.images.get(str(frame.path)) if self._source else None
        return len(self._images) if known is None or known.id is None else known.id

    def _category_ids(self) -> tuple[int | str, ...]:
        """Return the category id of each class of the model."""
        ids = category_ids([self._source] if self._source else [], self._names)
        return ids or tuple(range(len(self._names)))


def _checked(option: str, folder: Path) -> Path:
    """Return a folder after checking that it exists or can be created."""
    parent = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not parent.is_dir():
        raise ConfigError(f"{option} {folder}: {parent} is a file, not a folder.", code="C29")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"{option} {folder}: {parent} cannot be written to.", code="C29")
    return folder


def _suffix(frame: Frame) -> str:
    """Return the suffix to write: that of the picture if OpenCV supports it, else PNG."""
    if frame.number is not None:
        return VIDEO
    return frame.name.suffix if cv2.haveImageWriter(frame.name.name) else ".png"
