from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from tests.run.small_runs import make_data
from tutelage.data import open_dataset
from tutelage.data.draw_boxes import colour_of
from tutelage.data.letterbox import fit_wh
from tutelage.run.sample_images import TILE_SIDE, save_batch, save_detections
from tutelage.structures import Batch, Targets


def test_a_batch_is_shown_with_its_targets(tmp_path: Path) -> None:
    boxes = torch.tensor([[8.0, 20, 40, 60]])
    targets = Targets(torch.tensor([1]), torch.tensor([2]), boxes)
    images = torch.zeros(5, 3, 64, 64, dtype=torch.uint8)
    images[:, 0] = 200  # red
    save_batch(tmp_path / "samples" / "a.png", Batch(images, targets, torch.arange(5)), "abc")
    saved = cv2.imread(str(tmp_path / "samples" / "a.png"))[..., ::-1]
    assert saved.shape == (2 * TILE_SIDE, 4 * TILE_SIDE, 3)  # two rows of four
    assert tuple(saved[300, 75]) == (200, 0, 0)
    assert tuple(saved[750, 750]) == (114, 114, 114)  # no sixth image
    left = round(TILE_SIDE + 8 / 64 * TILE_SIDE)
    assert abs(saved[300, left].astype(int) - colour_of(2)).max() < 40
    save_batch(tmp_path / "b.png", Batch(images / 255, targets, torch.arange(5)), "abc")
    assert np.array_equal(cv2.imread(str(tmp_path / "b.png"))[..., ::-1], saved)


def test_confident_detections_are_shown_beside_the_labels(tmp_path: Path) -> None:
    index = open_dataset(make_data(tmp_path / "set"), "val")
    detection = {"image_id": 0, "category_id": 1, "bbox": [5.0, 9.0, 20.0, 20.0], "score": 0.5}
    save_detections(tmp_path / "none", index, [detection | {"score": 0.2}])
    save_detections(tmp_path / "one", index, [detection])
    pictures = {
        name: cv2.imread(str(tmp_path / name)).astype(int)
        for name in ("none/val_found.jpg", "one/val_found.jpg", "one/val_labels.jpg")
    }
    none, one, labels = pictures.values()
    changed = (abs(one - none) > 60).any(2).nonzero()
    assert changed[0].size
    assert max(changed[1]) < TILE_SIDE  # on the first tile
    assert (abs(labels - none) > 60).any()


def test_captions_can_be_read_and_equal_shapes_have_no_padding(tmp_path: Path) -> None:
    index = open_dataset(make_data(tmp_path / "set"), "val")
    index = index.subset(np.flatnonzero((index.sizes == index.sizes[0]).all(axis=1)))
    detection = {"image_id": 0, "category_id": 1, "bbox": [5.0, 9.0, 20.0, 20.0]}
    save_detections(tmp_path, index, [detection | {"score": 0.99}], conf=0.5)
    save_detections(tmp_path / "none", index, [])
    one, none = (cv2.imread(str(tmp_path / f)) for f in ("val_found.jpg", "none/val_found.jpg"))
    width, height = fit_wh(tuple(index.sizes[0].tolist()), TILE_SIDE)
    assert one.shape[0] % height == 0
    assert one.shape[1] == min(len(index), 4) * width
    scale = width / index.sizes[0, 0]
    caption = np.abs(one.astype(int) - none)[: round(9 * scale) - 2].max(axis=(1, 2)) > 60
    assert caption.sum() >= 12


def test_an_image_that_cannot_be_read_any_more_keeps_its_place(tmp_path: Path) -> None:
    index = open_dataset(make_data(tmp_path / "set"), "val")
    save_detections(tmp_path / "all", index, [])
    before = cv2.imread(str(tmp_path / "all/val_labels.jpg"))
    for position in range(len(index)):
        index.path(position).unlink()
    save_detections(tmp_path / "none", index, [])
    assert cv2.imread(str(tmp_path / "none/val_labels.jpg")).shape == before.shape
