"""Sample images: training batches with targets, val images with detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.data import DatasetIndex
from tutelage.structures import Batch, Targets

COLOURS = (
    (61, 139, 240),
    (90, 190, 80),
    (220, 120, 60),
    (180, 90, 200),
    (60, 200, 220),
    (200, 200, 60),
)
TILES = 16
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_boxes(
    image: NDArray[Any],
    xyxy: NDArray[np.float32],
    labels: Sequence[int],
    texts: Sequence[str],
) -> NDArray[Any]:
    """Return a copy of a BGR image ``(h, w, 3)`` with boxes (pixels) and captions."""
    canvas = image.copy()
    for box, label, text in zip(xyxy.round().astype(int).tolist(), labels, texts, strict=True):
        colour = COLOURS[label % len(COLOURS)]
        cv2.rectangle(canvas, box[:2], box[2:], colour, 1, cv2.LINE_AA)
        place = (box[0], max(box[1] - 2, 8))
        cv2.putText(canvas, text, place, FONT, 0.35, colour, 1, cv2.LINE_AA)
    return canvas


def save_batch(path: Path, batch: Batch, names: Sequence[str]) -> None:
    """Write up to 16 images of a batch with their targets as one picture."""
    images, targets = batch.images[:TILES].cpu(), Targets(*(x.cpu() for x in batch.targets))
    pixels = (images * 255 if images.is_floating_point() else images).byte()
    tiles = []
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        own = targets.image == number
        labels: list[int] = targets.label[own].tolist()
        bgr = np.ascontiguousarray(image[..., ::-1])
        texts = [str(names[label]) for label in labels]
        tiles.append(draw_boxes(bgr, targets.xyxy[own].numpy(), labels, texts))
    save_grid(path, tiles)


def save_grid(path: Path, tiles: Sequence[NDArray[Any]]) -> None:
    """Write BGR tiles of equal size as one picture, in rows of four."""
    if not tiles:
        return
    columns = min(4, len(tiles))
    blank = np.full_like(tiles[0], 114)
    padded = [*tiles, *([blank] * (-len(tiles) % columns))]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows))


def save_detections(
    folder: Path, index: DatasetIndex, detections: Sequence[dict[str, Any]], *, conf: float = 0.25
) -> None:
    """Write ``val_labels.jpg`` and ``val_found.jpg`` of the first images of an index.

    Args:
        folder: Where to write.
        index: The evaluated images; detections name them by position.
        detections: COCO format: ``image_id``, ``category_id``, ``bbox`` (x, y, w, h), ``score``.
        conf: Detections below are not drawn.
    """
    truth, predicted = [], []
    for number in range(min(TILES, len(index))):
        item = index.item(number)
        image = cv2.imread(str(item.path), cv2.IMREAD_COLOR)
        if image is None:
            continue
        kept = [d for d in detections if d["image_id"] == number and d["score"] >= conf]
        boxes = np.array([d["bbox"] for d in kept], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [int(d["category_id"]) for d in kept]
        texts = [f"{index.names[d['category_id']]} {d['score']:.2f}" for d in kept]
        classes = [int(label) for label in item.label]
        names = [index.names[c] for c in classes]
        truth.append(_tile(draw_boxes(image, item.xyxy, classes, names)))
        predicted.append(_tile(draw_boxes(image, boxes, labels, texts)))
    save_grid(folder / "val_labels.jpg", truth)
    save_grid(folder / "val_found.jpg", predicted)


def _tile(image: NDArray[Any], side: int = 320) -> NDArray[Any]:
    """Return the image fitted into a square tile."""
    h, w = image.shape[:2]
    scale = side / max(h, w)
    small = cv2.resize(image, (max(round(w * scale), 1), max(round(h * scale), 1)))
    tile = np.full((side, side, 3), 114, np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small
    return tile
