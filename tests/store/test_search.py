from pathlib import Path

import pytest

from tutelage.store import find_store, make_store
from tutelage.store.folder import ABOUT
from tutelage.store.search import Difference, store_folders

WANTED = {"teacher": "0a1b", "data": "bccd", "image_size": 320, "augment.hsv_s": 0.7}


def make(root: Path, **changes) -> Path:
    return make_store(root, "t", "responses", WANTED | changes).path


def test_the_store_that_fits_is_found(tmp_path) -> None:
    make(tmp_path, image_size=640)
    fits = make(tmp_path)
    found = find_store(tmp_path, WANTED)
    assert found.store is not None
    assert (found.store.path, found.nearest, found.reason()) == (fits, None, "")
    assert find_store(tmp_path, WANTED | {"new": None}).store == found.store


def test_nothing_there(tmp_path) -> None:
    assert find_store(tmp_path / "none", WANTED) == (None, None, ())
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert find_store(tmp_path, WANTED).reason() == ""


def test_why_the_nearest_is_not_used(tmp_path) -> None:
    for size in range(640, 1280, 64):  # some before the nearest by name, some after it
        make(tmp_path, image_size=size, data="coco", **{"augment.hsv_s": 0.5})
    make(tmp_path, teacher="ffff", data="coco")  # less differs, but it is about nothing of ours
    nearest = make(tmp_path, **{"augment.hsv_s": 0.5, "views": 4})
    found = find_store(tmp_path, WANTED)
    assert (found.store, found.nearest and found.nearest.path) == (None, nearest)
    assert found.differences == (
        Difference("augment.hsv_s", 0.7, 0.5),
        Difference("views", None, 4),
    )
    assert found.reason() == (
        f"The store {nearest} is not used: augment.hsv_s 0.7, before 0.5; views none, before 4."
    )
    assert find_store(tmp_path, WANTED, same=("image_size",)).nearest is not None
    assert find_store(tmp_path, {"other": 1}).nearest is None


def test_long_reasons_are_cut(tmp_path) -> None:
    many = {f"s{number}": number for number in range(6)}
    make(tmp_path, teacher="x" * 64, **many)
    reason = find_store(tmp_path, WANTED).reason()
    assert f"teacher 0a1b, before {'x' * 24}…;" in reason
    assert reason.endswith("s2 none, before 2; and 3 more.")


def test_equal_means_equal_as_json(tmp_path) -> None:
    make(tmp_path, flag=1)
    for value in (True, 1.0, "1"):
        assert len(find_store(tmp_path, WANTED | {"flag": value}).differences) == 1
    assert find_store(tmp_path, WANTED | {"flag": 1}).store is not None


@pytest.mark.parametrize("content", ["{", '{"format": 2}'])
def test_what_cannot_be_opened_is_not_used(tmp_path, content) -> None:
    path = make(tmp_path)
    (path / ABOUT).write_text(content)
    assert find_store(tmp_path, WANTED) == (None, None, ())
    assert store_folders(tmp_path) == [path]
