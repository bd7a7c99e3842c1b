"""Pictures of training batches and of detections on val images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.data import DatasetIndex, read_image
from tutelage.data.draw_boxes import colour_of, draw_boxes
from tutelage.data.letterbox import GREY, fit_wh, resize
from tutelage.errors import DataError
from tutelage.structures import Batch

TILES, TILE_SIDE = 16, 480


def save_batch(path: Path, batch: Batch, names: Sequence[str]) -> None:
    """Write up to 16 images of a batch with their targets as one picture."""
    images = batch.images[:TILES].cpu()
    pixels = images.mul(255).byte() if images.is_floating_point() else images
    tiles = []
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).contiguous().numpy()):
        mine = (batch.targets.image == number).cpu()
        labels: list[int] = batch.targets.label.cpu()[mine].tolist()
        xyxy = batch.targets.xyxy.cpu()[mine].numpy()
        tiles.append(_tile(image, xyxy, labels, [names[label] for label in labels]))
    _save_grid(path, tiles)


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
        try:
            image = read_image(item.path, item.size_wh, index.image_range)
        except DataError:  # evaluated as grey, too
            image = np.full((*item.size_wh[::-1], 3), GREY, np.uint8)
        known: list[int] = item.label.tolist()
        names = [index.names[label] for label in known]
        truth.append(_tile(image, item.xyxy, known, names))
        mine = [d for d in detections if d["image_id"] == number and d["score"] >= conf]
        boxes = np.array([d["bbox"] for d in mine], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [int(d["category_id"]) for d in mine]
        texts = [f"{index.names[d['category_id']]} {d['score']:.2f}" for d in mine]
        predicted.append(_tile(image, boxes, labels, texts))
    _save_grid(folder / "val_labels.jpg", truth)
    _save_grid(folder / "val_found.jpg", predicted)


def _tile(
    image: NDArray[np.uint8],
    xyxy: NDArray[np.float32],
    labels: Sequence[int],
    captions: Sequence[str],
) -> NDArray[np.uint8]:
    """Return an image at the size of a tile; boxes and captions are drawn at that size."""
    height, width = image.shape[:2]
    new_wh = fit_wh((width, height), TILE_SIDE)
    scaled = xyxy * np.tile(np.divide(new_wh, (width, height)), 2)
    colours = [colour_of(label) for label in labels]
    return draw_boxes(resize(image, new_wh, smooth=True), scaled, colours, captions)


def _save_grid(path: Path, tiles: Sequence[NDArray[np.uint8]]) -> None:
    """Write RGB tiles as one picture, in rows of four, with no more padding than they need."""
    if not tiles:
        return
    columns = min(4, len(tiles))
    height, width = np.max([tile.shape[:2] for tile in tiles], axis=0).tolist()
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * height, columns * width, 3), GREY, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), canvas[..., ::-1])
