"""The real data set, when it lies beside the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.write_dataset import write_yaml
from tutelage.config.schema import AugmentConfig
from tutelage.data import open_dataset, training_loader

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd"

pytestmark = pytest.mark.skipif(
    not BCCD.is_dir(), reason="needs the BCCD data set in ../shared/data/bccd"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Link the folders, so that the label cache is written here."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for split in ("train", "val", "test"):
            (tmp_path / kind / split).symlink_to(BCCD / kind / split)
    names = {0: "WBC", 1: "RBC", 2: "Platelets"}
    return write_yaml(
        tmp_path / "bccd.yaml",
        train="images/train",
        val="images/val",
        test="images/test",
        names=names,
    )


def test_counts(data: Path) -> None:
    indices = [open_dataset(data, split) for split in ("train", "val", "test")]
    assert [len(index) for index in indices] == [205, 87, 72]
    assert sum(index.class_counts for index in indices).tolist() == [372, 4153, 361]
    assert all(not index.findings for index in indices)
    assert {tuple(size) for index in indices for size in index.sizes.tolist()} == {(640, 480)}


def test_first_box(data: Path) -> None:
    """BloodImage_00001: 0 0.276562 0.828125 0.340625 0.343750 of 640 x 480."""
    item = open_dataset(data, "train").item(0)
    assert item.path.name == "BloodImage_00001.jpg"
    np.testing.assert_allclose(item.xyxy[0], [68, 315, 286, 480], atol=1e-3)
    assert item.label[0] == 0


def test_training_batches(data: Path) -> None:
    index = open_dataset(data, "train").subset(range(24))
    loader = training_loader(
        index,
        image_size=320,
        batch=8,
        augment=AugmentConfig(),
        seed=0,
        workers=0,
        cache=True,
        cache_gib=1.0,
    )
    batches = list(loader)
    assert [batch.images.shape for batch in batches] == [(8, 3, 320, 320)] * 3
    boxes = sum(len(batch.targets.xyxy) for batch in batches)
    assert boxes > 24 * 10  # mosaics of about 13 cells each
