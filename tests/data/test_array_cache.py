"""The label cache: used when nothing changed, rebuilt when anything did, never trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.write_dataset import make_dataset, write_image, write_text, write_yaml
from tutelage.data import open_dataset
from tutelage.data.array_cache import cache_root
from tutelage.data.formats import scan as scanning

GOOD = "0 0.5 0.5 0.25 0.5\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))


def stored_ones() -> list[Path]:
    return list((cache_root() / "labels").glob("*.npz"))


class Trap:
    """Unpickling it touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (self.path,)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    original = scanning.read_size

    def counted(path: Path) -> tuple[int, int]:
        seen.append(path)
        return original(path)

    monkeypatch.setattr(scanning, "read_size", counted)
    return seen


def test_second_opening_reads_no_image(tmp_path: Path, reads: list[Path]) -> None:
    path = make_dataset(tmp_path, {"a": GOOD + GOOD, "b": "0 1 2"})
    first = open_dataset(path, "train", strict=False)
    assert len(reads) == 2
    second = open_dataset(path, "train", strict=False)
    assert len(reads) == 2
    assert second.findings == first.findings
    assert second.fingerprint == first.fingerprint
    assert len(stored_ones()) == 1


def test_nothing_is_written_where_the_data_are(tmp_path: Path) -> None:
    """A list may name any folder of this machine."""
    path = make_dataset(tmp_path / "set", {"a": GOOD})
    write_text(tmp_path / "set" / "list.txt", f"{tmp_path}/gone/images/a.jpg\nimages/train/a.jpg")
    listing = write_yaml(tmp_path / "set" / "d.yaml", train="list.txt", names=["x"])
    before = sorted(tmp_path.rglob("*"))
    for data in (path, listing):
        open_dataset(data, "train")
    assert sorted(tmp_path.rglob("*")) == before
    assert len(stored_ones()) == 2


@pytest.mark.parametrize("changed", ["label", "new label", "image", "new image"])
def test_any_change_is_detected(tmp_path: Path, reads: list[Path], changed: str) -> None:
    path = make_dataset(tmp_path, {"a": GOOD, "b": None})
    open_dataset(path, "train")
    if changed == "label":
        write_text(tmp_path / "labels" / "train" / "a.txt", "1 .5 .5 .25 .50")
    elif changed == "new label":
        write_text(tmp_path / "labels" / "train" / "b.txt", GOOD)
    elif changed == "image":
        write_image(tmp_path / "images" / "train" / "a.jpg", 80, 40)
    else:
        write_image(tmp_path / "images" / "train" / "c.jpg")
    before = len(reads)
    index = open_dataset(path, "train")
    assert len(reads) > before
    assert index.labels.tolist() == {"label": [1], "new label": [0, 0]}.get(changed, [0])
    assert len(index) == (3 if changed == "new image" else 2)
    assert index.item(0).size_wh == ((80, 40) if changed == "image" else (64, 48))
    assert len(stored_ones()) == 1


def test_same_size_edit_is_detected_by_its_time(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD})
    open_dataset(path, "train")
    label = tmp_path / "labels" / "train" / "a.txt"
    write_text(label, GOOD.replace("0 ", "1 ", 1))
    os.utime(label, ns=(1, 1))
    assert open_dataset(path, "train").labels.tolist() == [1]


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_damaged_cache_is_rebuilt(tmp_path: Path, reads: list[Path], content: bytes) -> None:
    path = make_dataset(tmp_path, {"a": GOOD})
    open_dataset(path, "train")
    (stored,) = stored_ones()
    whole = stored.read_bytes()
    for damaged in (content, whole[: len(whole) // 2]):
        stored.write_bytes(damaged)
        before = len(reads)
        assert len(open_dataset(path, "train").boxes) == 1
        assert len(reads) == before + 1
    assert len(stored.read_bytes()) == len(whole)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, {"a": GOOD})
    open_dataset(path, "train")
    (stored,) = stored_ones()
    with np.load(stored, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept["reasons"] = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.savez(stored, **kept)
    assert len(open_dataset(path, "train")) == 1
    assert not (tmp_path / "sprung").exists()


def test_no_place_for_a_cache_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_dataset(tmp_path, {"a": GOOD})

    def refusing(**_: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(scanning.array_cache.tempfile, "mkstemp", refusing)
    assert len(open_dataset(path, "train")) == 1


def test_splits_that_share_a_label_folder_do_not_evict_each_other(
    tmp_path: Path, reads: list[Path]
) -> None:
    make_dataset(tmp_path, {"a": GOOD, "b": GOOD})
    write_text(tmp_path / "train.txt", "./images/train/a.jpg")
    write_text(tmp_path / "val.txt", "./images/train/b.jpg")
    path = write_yaml(tmp_path / "d.yaml", train="train.txt", val="val.txt", names=["x"])
    for split in ("train", "val", "train", "val"):
        open_dataset(path, split)
    assert len(reads) == 2
