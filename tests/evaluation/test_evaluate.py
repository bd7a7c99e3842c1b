"""From batches to scores: boxes come home, and only what was looked at is scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.evaluation.synthetic_coco import make_index
from tutelage.data import DatasetIndex, EvaluationDataset, evaluation_loader
from tutelage.data.letterbox import letterbox_geometry
from tutelage.evaluation import EvaluatedDetections, collect, evaluate, merge, score
from tutelage.evaluation.evaluate import to_original
from tutelage.structures import Batch, Detections, Predictions, Targets


class Oracle:
    """A loader that shows its batches also to a model, which answers with the true boxes."""

    def __init__(
        self, batches: Iterable[Batch], classes: int, *, extra: Sequence[float] = ()
    ) -> None:
        self.batches, self.classes, self.extra = batches, classes, extra
        self.now: Batch | None = None

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            self.now = batch
            yield batch

    def __call__(self, images: Tensor) -> Predictions:
        """Predict the targets of the batch at hand."""
        assert self.now is not None
        assert images.dtype == torch.float32
        assert images.max() <= 1
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.is_inference_mode_enabled()
        targets, count = self.now.targets, 60
        xyxy = torch.zeros(len(images), count, 4)
        logits = torch.full((len(images), count, self.classes), -20.0)
        objectness = torch.full((len(images), count), -20.0)
        for number in range(len(images)):
            mine = targets.image == number
            boxes, labels = targets.xyxy[mine], targets.label[mine]
            xyxy[number, : len(boxes)] = boxes
            logits[number, torch.arange(len(boxes)), labels] = 20.0
            objectness[number, : len(boxes)] = 20.0
            if self.extra:
                xyxy[number, -1] = torch.tensor(self.extra)
                logits[number, -1, 0] = objectness[number, -1] = 3.0
        return Predictions(xyxy, logits, objectness, torch.zeros(count, dtype=torch.int64))


def batches(
    index: DatasetIndex, size: int = 320, batch: int = 4, positions: Sequence[int] | None = None
) -> list[Batch]:
    """Grey canvases with the boxes where the letterbox puts them."""
    made: list[Batch] = []
    positions = range(len(index)) if positions is None else positions
    for start in range(0, len(positions), batch):
        ids = list(positions)[start : start + batch]
        items = [index.item(position) for position in ids]
        boxes = [letterbox_geometry(item.size_wh, (size, size)).apply(item.xyxy) for item in items]
        counts = [len(each) for each in boxes]
        targets = Targets(
            torch.repeat_interleave(torch.arange(len(ids)), torch.tensor(counts)),
            torch.from_numpy(np.concatenate([item.label for item in items])),
            torch.from_numpy(np.concatenate(boxes)),
        )
        images = torch.full((len(ids), 3, size, size), 114, dtype=torch.uint8)
        made.append(Batch(images, targets, torch.tensor(ids)))
    return made


def test_true_boxes_score_one() -> None:
    index = make_index(23, seed=3, most=5)
    oracle = Oracle(batches(index), len(index.names))
    found = evaluate(oracle, oracle, index, iou=0.99)
    assert pytest.approx(1.0, abs=0.01) == found.AP
    assert pytest.approx(1.0) == found.AP75
    assert found.images == 23
    assert found.instances == len(index.labels)
    for box in found.detections:
        width, height = index.sizes[box["image_id"]].tolist()
        x, y, w, h = box["bbox"]
        assert min(x, y) >= 0
        assert x + w <= width + 1e-3
        assert y + h <= height + 1e-3
        assert box["bbox"] == [round(value, 3) for value in box["bbox"]]


def test_only_the_images_of_the_loader_are_scored() -> None:
    index = make_index(23, seed=3, most=5)
    oracle = Oracle(batches(index)[:2], len(index.names))
    found = evaluate(oracle, oracle, index, iou=0.99)
    assert found.images == 8
    assert pytest.approx(1.0) == found.AP50
    assert found.instances == index.offsets[8]


def test_class_map_scores_the_shared_classes() -> None:
    """A teacher that calls class 2 of the data its class 0 and knows one that is not wanted."""
    index = make_index(23, seed=3, most=5)
    oracle = Oracle(batches(index), len(index.names))

    def teacher(images: Tensor) -> Predictions:
        made = oracle(images)
        return made._replace(logits=made.logits[..., [2, 0, 1]])

    found = evaluate(teacher, oracle, index, class_map={0: 2, 2: 1}, iou=0.99)
    assert list(found.per_class) == ["dot", "rod"]
    assert pytest.approx(1.0) == found.AP50
    assert {box["category_id"] for box in found.detections} == {1, 2}
    crossed = evaluate(teacher, oracle, index, class_map={0: 1, 2: 2}, iou=0.99)
    assert crossed.AP50 < 0.2


def test_a_loader_without_batches() -> None:
    found = evaluate(lambda _: pytest.fail("nothing to predict"), [], make_index())
    assert (found.images, found.instances, found.detections) == (0, 0, [])
    assert np.isnan(found.AP)


def test_several_processes_find_what_one_does() -> None:
    index = make_index(23, seed=3, most=5)
    alone = Oracle(batches(index), len(index.names))
    whole = collect(alone, alone, index)
    parts = []
    for positions in (
        [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22],
        [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 0, 2],
    ):
        share = Oracle(batches(index, positions=positions), len(index.names))
        parts.append(collect(share, share, index))
    joined = merge(parts)
    assert joined.images.tolist() == whole.images.tolist() == list(range(23))
    assert sorted(map(tuple, joined.table.tolist())) == sorted(map(tuple, whole.table.tolist()))
    assert merge([]).table.shape == (0, 7)


def test_an_image_seen_twice_counts_once() -> None:
    index = make_index(6, seed=3)
    oracle = Oracle(batches(index, positions=[0, 1, 2, 3, 4, 5, 1]), len(index.names))
    found = collect(oracle, oracle, index)
    assert found.images.tolist() == [0, 1, 2, 3, 4, 5]
    assert pytest.approx(1.0) == score(index, found.table).AP50
    assert isinstance(found, EvaluatedDetections)


def test_boxes_are_clipped_and_the_grey_border_holds_none() -> None:
    lies = letterbox_geometry(
        (200, 100), (400, 400)
    )  # twice as large, 100 grey rows above and below
    on_canvas = torch.tensor(
        [
            [-10.0, 90, 50, 350],
            [0, 0, 400, 100],
            [0, 300, 400, 400],
            [100, 120, 140, 160],
            [410, 120, 450, 160],
        ]
    )
    scores = torch.linspace(0.9, 0.1, 5)
    found = to_original(Detections(on_canvas, scores, torch.arange(5)), lies)
    assert found.xyxy.tolist() == [[0, 0, 25, 100], [50, 10, 70, 30]]
    assert found.label.tolist() == [0, 3]
    assert torch.equal(found.score, scores[[0, 3]])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    """Images of odd sizes on disk."""
    folder = tmp_path_factory.mktemp("images")
    index = make_index(12, seed=9, most=4)
    paths = [folder / f"{number}.png" for number in range(len(index))]
    for path, (width, height) in zip(paths, index.sizes.tolist(), strict=True):
        assert cv2.imwrite(str(path), np.full((height, width, 3), 200, np.uint8))
    return DatasetIndex.from_columns(
        names=index.names,
        root=folder,
        source=str(folder),
        split="val",
        paths=paths,
        sizes=index.sizes,
        file_sizes=np.array([path.stat().st_size for path in map(Path, paths)]),
        boxes=index.boxes,
        labels=index.labels,
        counts=index.counts,
    )


@pytest.mark.parametrize(("rect", "pad"), [(False, 0.0), (True, 0.0), (True, 0.5)])
def test_the_real_loader_and_the_way_back_agree(
    files: DatasetIndex, rect: bool, pad: float
) -> None:
    loader = evaluation_loader(files, image_size=256, batch=5, workers=0, rect=rect, pad=pad)
    oracle = Oracle(loader, len(files.names))
    letterbox = cast("EvaluationDataset", loader.dataset).letterbox
    explicit = evaluate(oracle, oracle, files, letterbox=letterbox, iou=0.99)
    assert pytest.approx(1.0) == explicit.AP75
    assert explicit.AP > 0.97
    if not pad:
        implicit = evaluate(oracle, oracle, files, iou=0.99)
        assert np.array_equal(implicit.table, explicit.table)
