"""Label lines with more columns than a box: key points, with and without kpt_shape, polygons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.data.write_dataset import NAMES, write_image, write_text, write_yaml
from tutelage.data import open_dataset
from tutelage.data.index import DatasetIndex
from tutelage.errors import DataError

Values = Sequence[float]
Form = Callable[[np.random.Generator], Values]
WIDTH, HEIGHT = 64, 48


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))


def write(root: Path, lines: Sequence[str], **keys: object) -> Path:
    """Write four images with the lines in turn, and the data yaml."""
    for image in range(4):
        write_image(root / f"images/{image}.jpg", WIDTH, HEIGHT, seed=image)
        write_text(root / f"labels/{image}.txt", "\n".join(lines[image::4]))
    return write_yaml(root / "data.yaml", train="images", names=NAMES, **keys)


def numbers(values: Values) -> str:
    return "0 " + " ".join(f"{value:.6g}" for value in values)


def key_points(
    n: int, d: int, visible: Callable[[np.random.Generator], float] | None = None
) -> Form:
    """Boxes of any size and place, with points that are not labelled here and there."""

    def form(rng: np.random.Generator) -> Values:
        size = rng.uniform(0.05, 0.5, 2)
        centre = rng.uniform(size / 2, 1 - size / 2)
        values = [*centre, *size]
        for _ in range(n):
            seen = visible(rng) if visible else float(rng.integers(3))
            point = centre + rng.uniform(-0.5, 0.5, 2) * size if seen else (0.0, 0.0)
            values += [*point, seen][:d]
        return values

    return form


def boxes_of(index: DatasetIndex) -> np.ndarray:
    return index.boxes / np.tile([WIDTH, HEIGHT], 2)


def some(form: Form, count: int = 40) -> list[Values]:
    rng = np.random.default_rng(3)
    return [form(rng) for _ in range(count)]


SHAPES = [(n, d) for d in (2, 3) for n in (1, 2, 3, 4, 5, 17)]


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_those_of_columns_2_to_5(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = some(key_points(*shape), 8)
    path = write(tmp_path, [numbers(each) for each in values], kpt_shape=list(shape))
    index = open_dataset(path, "train")
    assert index.findings == ()
    x, y, w, h = np.array([each[:4] for image in range(4) for each in values[image::4]]).T
    expected = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    np.testing.assert_allclose(boxes_of(index), expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_key_points_without_kpt_shape_are_told(tmp_path: Path, shape: tuple[int, int]) -> None:
    n, d = shape
    path = write(tmp_path, [numbers(each) for each in some(key_points(n, d))])
    if d == 2:
        (finding,) = open_dataset(path, "train").findings
        assert (finding.code, finding.severity) == ("label-key-points", "warning")
        what, fix = finding.message, finding.fix
        assert what.endswith(", but without kpt_shape they are read as polygons.")
    else:
        with pytest.raises(DataError) as caught:
            open_dataset(path, "train", strict=False)
        what, fix = caught.value.what, caught.value.fix
        assert "data.yaml has no kpt_shape" in what
    assert ', e.g. labels/0.txt:1 "0 ' in what
    points = "key points" if n > 1 else "key point"
    assert what.startswith(
        f"Label lines of {5 + n * d} columns look like a box and {n} {points} (x y"
    )
    assert f"dd  kpt_shape: [{n}, {d}]  to data.yaml" in fix


@pytest.mark.parametrize("n", [4, 5, 17])
def test_visibilities_that_are_scores(tmp_path: Path, n: int) -> None:
    """Detectors of key points write how sure they are of each."""
    values = some(key_points(n, 3, lambda rng: rng.uniform(0.1, 1)))
    path = write(tmp_path, [numbers(each) for each in values])
    if n % 2:
        with pytest.raises(DataError, match=f"a box and {n} key points"):
            open_dataset(path, "train")
    else:
        assert f"kpt_shape: [{n}, 3]" in open_dataset(path, "train").findings[0].fix


def ring(rng: np.random.Generator, count: int, centre: Values, radius: float) -> Values:
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    around = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.6, 1, (count, 1))
    return np.clip(around * radius + centre, 0, 1).ravel()


def outlines(rng: np.random.Generator) -> Values:
    return ring(rng, int(rng.integers(3, 40)), rng.uniform(0.1, 0.9, 2), rng.uniform(0.02, 0.4))


def simplified(rng: np.random.Generator) -> Values:
    return ring(rng, 6, rng.uniform(0.3, 0.7, 2), rng.uniform(0.02, 0.3))


def rotated_boxes(rng: np.random.Generator) -> Values:
    size, angle = rng.uniform(0.02, 0.4, 2), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    return (corners @ turn.T + rng.uniform(0.2, 0.8, 2)).ravel()


def plates(rng: np.random.Generator) -> Values:
    left, top = rng.uniform(0.4, 0.5, 2)
    return [left, top, left + 0.1, top, left + 0.1, top + 0.03, left, top + 0.03]


def closed_frames(rng: np.random.Generator) -> Values:
    left, top, right, bottom = rng.choice([0.0, 0.3, 0.6, 1.0], 4)
    right, bottom = max(right, left + 0.1), max(bottom, top + 0.1)
    return np.clip([left, top, right, top, right, bottom, left, bottom, left, top], 0, 1)


@pytest.mark.parametrize("form", [outlines, simplified, rotated_boxes, plates, closed_frames])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_polygons_are_not_suspected(tmp_path: Path, form: Form, count: int) -> None:
    path = write(tmp_path, [numbers(each) for each in some(form, count)])
    codes = {finding.code for finding in open_dataset(path, "train").findings}
    assert codes <= {"labels-empty", "label-no-area", "box-clipped", "label-duplicate"}


def test_the_first_track_with_its_score_is_no_triangle(tmp_path: Path) -> None:
    lines = [
        f"{numbers(each)} 1" for each in some(lambda rng: [*plates(rng)[:4], rng.uniform(0.3, 1)])
    ]
    with pytest.raises(DataError, match="Label lines of 7 columns end in a score and a track id"):
        open_dataset(write(tmp_path, lines), "train")


def test_other_lines_than_kpt_shape_says(tmp_path: Path) -> None:
    values = some(key_points(4, 3), 8)
    path = write(tmp_path, [numbers(each) for each in values], kpt_shape=[17, 3])
    with pytest.raises(DataError) as caught:
        open_dataset(path, "train")
    assert "8 label lines cannot be used" in caught.value.what
    assert "kpt_shape is [17, 3], so lines must have 56 columns, or 5." in caught.value.what


def test_labels_are_read_again_when_kpt_shape_is_added(tmp_path: Path) -> None:
    lines = [numbers(each) for each in some(key_points(5, 2))]
    path = write(tmp_path, lines)
    wrong = open_dataset(path, "train").boxes
    write_yaml(path, train="images", names=NAMES, kpt_shape=[5, 2])
    right = open_dataset(path, "train").boxes
    assert len(wrong) == len(right) == 40
    assert not np.allclose(wrong, right, atol=1)


def test_key_points_among_polygons_are_told(tmp_path: Path) -> None:
    values = [*some(key_points(17, 2), 20), *some(outlines, 40)]
    (finding,) = open_dataset(write(tmp_path, [numbers(each) for each in values]), "train").findings
    assert finding.code == "label-key-points"
    assert "look like a box and 17 key points" in finding.message


@pytest.mark.parametrize("value", ["nan", "inf", "1e308", "-1e200"])
def test_numbers_beyond_all_bounds_are_no_sample(tmp_path: Path, value: str) -> None:
    lines = [numbers(each) for each in some(key_points(5, 2))]
    lines[3] = " ".join([*lines[3].split()[:-2], value, value])
    with np.errstate(all="raise"):
        index = open_dataset(write(tmp_path, lines), "train", strict=False)
    (told,) = [finding for finding in index.findings if finding.code == "label-key-points"]
    assert told.count == 39


def test_label_files_that_cannot_be_read_are_no_sample(tmp_path: Path) -> None:
    path = write(tmp_path, [numbers(each) for each in some(key_points(5, 2), 8)])
    (tmp_path / "labels/0.txt").unlink()
    (tmp_path / "labels/0.txt").mkdir()
    write_text(tmp_path / "labels/1.txt", "0 a b c d e f g\n")
    codes = [finding.code for finding in open_dataset(path, "train", strict=False).findings]
    assert "label-key-points" in codes
