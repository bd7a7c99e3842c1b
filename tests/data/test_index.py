from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tutelage.data.index import DatasetIndex


def build(
    root: str = "/data", paths: tuple[str, ...] = ("/data/a.jpg", "/data/b/ü.jpg", "/x/c.jpg")
) -> DatasetIndex:
    return DatasetIndex.from_columns(
        names=("cat", "dog", "owl"),
        root=Path(root),
        source="d.yaml",
        split="train",
        paths=[Path(path) for path in paths],
        sizes=np.array([[10, 20], [30, 40], [50, 60]], np.int32),
        file_sizes=np.array([7, 8, 9]),
        boxes=np.arange(16, dtype=np.float32).reshape(4, 4),
        labels=np.array([1, 0, 1, 2]),
        counts=np.array([1, 0, 3]),
    )


def test_items_are_views() -> None:
    index = build()
    assert len(index) == 3
    last = index.item(2)
    assert last.path == Path("/x/c.jpg")
    assert last.size_wh == (50, 60)
    assert last.label.tolist() == [0, 1, 2]
    assert last.label.dtype == np.int64
    assert last.xyxy.base is not None
    assert np.shares_memory(last.xyxy, index.boxes)
    assert index.item(1).xyxy.shape == (0, 4)
    assert [item.path.name for item in index] == ["a.jpg", "ü.jpg", "c.jpg"]


def test_paths_below_the_root_are_relative() -> None:
    index = build()
    assert [index.name(i) for i in range(3)] == ["a.jpg", "b/ü.jpg", "/x/c.jpg"]
    assert index.path(1) == Path("/data/b/ü.jpg")


@pytest.mark.parametrize("position", [3, -1])
def test_no_such_image(position: int) -> None:
    with pytest.raises(IndexError, match=f"image {position} of 3"):
        build().item(position)


def test_counts() -> None:
    assert build().class_counts.tolist() == [1, 2, 1]
    assert build().counts.tolist() == [1, 0, 3]


def test_subset_keeps_order_and_boxes() -> None:
    index = build()
    part = index.subset([2, 0])
    assert [item.path.name for item in part] == ["c.jpg", "a.jpg"]
    assert part.item(0).label.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(part.item(1).xyxy, index.item(0).xyxy)
    assert part.sizes.tolist() == [[50, 60], [10, 20]]
    assert len(index.subset([])) == 0
    assert index.subset([0, 1, 2]).fingerprint == index.fingerprint != part.fingerprint


def test_fingerprint_follows_content_not_place() -> None:
    index = build()
    moved = build("/mnt", ("/mnt/a.jpg", "/mnt/b/ü.jpg", "/x/c.jpg"))
    assert moved.fingerprint == index.fingerprint
    changed = (
        replace(index, boxes=index.boxes + 1),
        replace(index, labels=index.labels[::-1].copy()),
        replace(index, names=("cat", "dog", "bat")),
        replace(index, file_sizes=index.file_sizes + 1),
        build(paths=("/data/z.jpg", "/data/b/ü.jpg", "/x/c.jpg")),
    )
    assert len({index.fingerprint, *(other.fingerprint for other in changed)}) == 6


def test_columns_must_fit() -> None:
    with pytest.raises(ValueError, match="per path"):
        build(paths=("/data/a.jpg",))
