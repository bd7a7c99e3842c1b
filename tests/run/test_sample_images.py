from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from tests.run.small_runs import make_data
from tutelage.data import open_dataset
from tutelage.data.draw_boxes import colour_of
from tutelage.run.sample_images import save_batch, save_detections
from tutelage.structures import Batch, Targets


def test_a_batch_is_shown_with_its_targets(tmp_path: Path) -> None:
    boxes = torch.tensor([[8.0, 20, 40, 60]])
    targets = Targets(torch.tensor([1]), torch.tensor([2]), boxes)
    images = torch.zeros(5, 3, 64, 64, dtype=torch.uint8)
    images[:, 0] = 200  # red
    save_batch(tmp_path / "samples" / "a.png", Batch(images, targets, torch.arange(5)), "abc")
    saved = cv2.imread(str(tmp_path / "samples" / "a.png"))[..., ::-1]
    assert saved.shape == (128, 256, 3)  # two rows of four
    assert tuple(saved[40, 10]) == (200, 0, 0)
    assert tuple(saved[100, 100]) == (114, 114, 114)  # no sixth image
    assert abs(saved[50, 64 + 8].astype(int) - colour_of(2)).max() < 40
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
    assert max(changed[1]) < 320  # on the first tile
    assert (abs(labels - none) > 60).any()
