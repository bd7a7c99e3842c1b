from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import yaml

from tutelage.data import digits
from tutelage.data.digit_scenes import SceneSettings
from tutelage.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

SMALL = SceneSettings(size=64, train=12, val=4, test=6, digits=(2, 3), height=(12.0, 24.0))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(label_file: Path) -> np.ndarray:
    lines = label_file.read_text().splitlines()
    return np.array([[float(value) for value in line.split()] for line in lines]).reshape(-1, 5)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits.build(tmp_path_factory.mktemp("small"), scenes=SMALL).parent


@pytest.fixture(scope="module")
def handwriting() -> tuple[np.ndarray, np.ndarray]:
    return digits._handwriting()


def test_yaml_and_files_agree(small: Path) -> None:
    data = yaml.safe_load((small / "data.yaml").read_text())
    assert data["path"] == "."
    assert data["names"] == list("0123456789")
    for split, count in (("train", 12), ("val", 4), ("test", 6)):
        images = sorted((small / data[split]).iterdir())
        labels = sorted((small / data[split].replace("images", "labels")).iterdir())
        assert len(images) == count
        assert [path.stem for path in images] == [path.stem for path in labels]
        for path in images:
            image = cv2.imread(str(path))
            assert image.shape == (64, 64, 3)
            assert np.ptp(image.astype(int), axis=2).max() > 10, "no colour"


def test_labels_lie_within_the_image(small: Path) -> None:
    for path in sorted(small.glob("labels/*/*.txt")):
        label, xywh = np.split(rows(path), [1], axis=1)
        assert 1 <= len(label) <= 3
        assert set(label.ravel()) <= set(range(10))
        assert (xywh[:, 2:] > 0).all()
        assert (xywh[:, :2] - xywh[:, 2:] / 2 >= -1e-7).all()
        assert (xywh[:, :2] + xywh[:, 2:] / 2 <= 1 + 1e-7).all()


def test_written_boxes_are_those_of_the_scene(
    small: Path, handwriting: tuple[np.ndarray, np.ndarray]
) -> None:
    glyphs, label = handwriting
    pool = digits.split_digits(label)["val"]
    rng = np.random.default_rng((0, 1))
    hands = rng.integers(*SMALL.digits, size=SMALL.val, endpoint=True)
    hand = digits.deal(pool, hands, rng)[2]
    scene = digits.compose(
        SMALL, glyphs[hand], label[hand], glyphs[pool], np.random.default_rng((0, 1, 2))
    )
    written = rows(small / "labels/val/00002.txt")
    assert written[:, 0].tolist() == scene.label.tolist()
    centre, half = written[:, 1:3] * 64, written[:, 3:] * 32
    np.testing.assert_allclose(np.hstack([centre - half, centre + half]), scene.xyxy, atol=1e-4)
    image = cv2.cvtColor(cv2.imread(str(small / "images/val/00002.jpg")), cv2.COLOR_BGR2RGB)
    assert np.abs(image.astype(int) - scene.image).mean() < 4


def test_same_seed_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    again = digits.build(tmp_path, scenes=SMALL).parent
    assert again.name == small.name
    assert contents(again) == contents(small)


def test_another_seed_gives_other_scenes_elsewhere(small: Path) -> None:
    other = digits.build(small.parent, scenes=SMALL, seed=1).parent
    assert other.name != small.name
    first, second = contents(small), contents(other)
    assert first.keys() == second.keys()
    assert not any(first[name] == second[name] for name in first if name.startswith("images"))


def test_other_knobs_live_elsewhere(small: Path) -> None:
    other = digits.build(small.parent, scenes=replace(SMALL, train=1)).parent
    assert other.name != small.name
    assert len(list((other / "images/train").iterdir())) == 1


def test_easy_variant(tmp_path: Path) -> None:
    folder = digits.build(tmp_path, variant="digits:easy").parent
    assert folder.name.startswith("digits-easy-v")
    for split, count in (("train", 200), ("val", 60), ("test", 60)):
        files = sorted((folder / "labels" / split).iterdir())
        tables = [rows(path) for path in files]
        assert len(files) == count
        assert {len(table) for table in tables} == {2, 3, 4}
        assert set(np.concatenate(tables)[:, 0]) == set(range(10))
    assert cv2.imread(str(folder / "images/test/00000.jpg")).shape == (96, 96, 3)


def test_splits_are_disjoint_complete_and_stratified(
    handwriting: tuple[np.ndarray, np.ndarray],
) -> None:
    _, label = handwriting
    groups = digits.split_digits(label)
    assert list(groups) == ["train", "val", "test"]
    together = np.concatenate(list(groups.values()))
    assert sorted(together) == list(range(1797))
    everywhere = np.bincount(label)
    for split, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        assert (np.abs(np.bincount(label[groups[split]]) - share * everywhere) <= 1).all()


def test_scenes_use_only_digits_of_their_split(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handwriting: tuple[np.ndarray, np.ndarray],
) -> None:
    glyphs, label = handwriting
    given: list[tuple[np.ndarray, np.ndarray]] = []
    compose = digits.compose

    def spy(scenes, ink, classes, scraps, rng):
        given.append((ink, scraps))
        return compose(scenes, ink, classes, scraps, rng)

    monkeypatch.setattr(digits, "compose", spy)
    digits.build(tmp_path, scenes=SMALL)
    groups = digits.split_digits(label)
    order = ["train"] * 12 + ["val"] * 4 + ["test"] * 6
    for split, (ink, scraps) in zip(order, given, strict=True):
        own = {glyph.tobytes() for glyph in glyphs[groups[split]]}
        assert {glyph.tobytes() for glyph in ink} <= own
        assert {glyph.tobytes() for glyph in scraps} == own


@pytest.mark.parametrize("scenes", [2, 40])  # fewer digits than the pool holds, and many times it
def test_digits_are_dealt_evenly(scenes: int) -> None:
    rng = np.random.default_rng(0)
    pool, hands = np.arange(100, 120), rng.integers(3, 8, scenes)
    dealt = digits.deal(pool, hands, rng)
    assert [len(hand) for hand in dealt] == hands.tolist()
    uses = np.bincount(np.concatenate(dealt) - 100, minlength=20)
    assert uses.max() - uses.min() <= 1


def test_second_call_writes_nothing_and_needs_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in small.parent.rglob("*")}

    before = stamps()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert digits.build(small.parent, scenes=SMALL) == small / "data.yaml"
    assert stamps() == before


def test_missing_scikit_learn_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match="scikit-learn") as caught:
        digits.build(tmp_path / "data")
    assert caught.value.fix == "pip install 'tutelage[demo]'"
    assert not (tmp_path / "data").exists()


def test_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compose, calls = digits.compose, []

    def fail_late(*args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return compose(*args)

    monkeypatch.setattr(digits, "compose", fail_late)
    with pytest.raises(KeyboardInterrupt):
        digits.build(tmp_path, scenes=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_two_builders_of_one_folder_agree(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = digits._write

    def overtaken(*args):
        shutil.copytree(small, tmp_path / small.name)
        write(*args)

    monkeypatch.setattr(digits, "_write", overtaken)
    found = digits.build(tmp_path, scenes=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [small.name]
    assert contents(found.parent) == contents(small)


def test_folder_without_yaml_is_reported_not_overwritten(small: Path, tmp_path: Path) -> None:
    kept = tmp_path / small.name / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("x")
    with pytest.raises(DataError, match="Cannot make the data set 'digits'") as caught:
        digits.build(tmp_path, scenes=SMALL)
    assert str(tmp_path / small.name) in str(caught.value)
    assert kept.read_text() == "x"


def test_root_that_is_a_file_is_reported(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.write_text("x")
    with pytest.raises(DataError, match="Cannot make the data set 'digits'"):
        digits.build(root, scenes=SMALL)


def test_unknown_variant_and_seed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'digits:easy'"):
        digits.build(tmp_path, variant="digits:eazy")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="The seed of 'digits' is -1"):
        digits.build(tmp_path, seed=-1)
