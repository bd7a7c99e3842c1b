"""Lists of images as other tools and systems write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.annotation_files import voc_text
from tests.data.write_dataset import write_image, write_text
from tutelage.data import open_dataset
from tutelage.data.formats.image_lists import ImageList, list_images

BOX = [("dog", 8.0, 12.0, 40.0, 36.0)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_image(tmp_path / "secret.jpg")
    for stem in "ab":
        write_image(tmp_path / "set" / "obj_train_data" / f"{stem}.jpg")
    return tmp_path / "set"


def listed(root: Path, *lines: str) -> ImageList:
    source = write_text(root / "train.txt", "\n".join(lines))
    return list_images([source], [root, Path.cwd()])


def codes(found: ImageList) -> list[str]:
    return [finding.code for finding in found.findings]


@pytest.mark.parametrize(
    "prefix",
    [
        "data/obj_train_data/",
        "/home/else/set/obj_train_data/",
        "C:\\Users\\else\\set\\obj_train_data\\",
        "d:/sets/obj_train_data/",
        "obj_train_data\\",
        ".\\obj_train_data\\",
        "../other/obj_train_data/",
    ],
)
def test_entries_of_another_place(root: Path, prefix: str) -> None:
    found = listed(root, f"{prefix}none.jpg", f"{prefix}a.jpg", f"{prefix}b.jpg")
    folder = f"{root}/obj_train_data"
    assert list(found.images) == [f"{folder}/{name}.jpg" for name in ("a", "b", "none")]
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.count) == ("path-elsewhere", "info", 3)
    assert f"e.g. {f'{prefix}none.jpg'!r} as {folder}/none.jpg" in finding.message


def test_entries_of_several_places(root: Path) -> None:
    write_image(root / "more" / "c.jpg")
    found = listed(root, "data/obj_train_data/a.jpg", "/x/more/c.jpg", "/x/y/none.jpg")
    assert list(found.images) == [
        f"{root}/more/c.jpg",
        f"{root}/obj_train_data/a.jpg",
        "/x/y/none.jpg",
    ]
    assert found.findings[0].count == 2


@pytest.mark.parametrize("entry", ["x/../../secret.jpg", "/x/../secret.jpg", "C:\\..\\secret.jpg"])
def test_a_search_never_leaves_the_folder(root: Path, entry: str) -> None:
    found = listed(root, entry)
    assert not codes(found)
    assert not Path(found.images[0]).is_relative_to(root / "obj_train_data")


def test_what_exists_is_read_as_written(root: Path) -> None:
    found = listed(root, "obj_train_data/a.jpg", "data/obj_train_data/b.jpg")
    assert list(found.images) == [
        f"{root}/data/obj_train_data/b.jpg",
        f"{root}/obj_train_data/a.jpg",
    ]
    assert codes(found) == []


def test_lines_that_are_no_images_are_told(root: Path) -> None:
    found = listed(root, "# all", "", "obj_train_data/a.jpg", "obj_train_data/b.jpg 1,2,3,4,0")
    assert list(found.images) == [f"{root}/obj_train_data/a.jpg"]
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("list-line", "warning")
    assert "1, e.g. train.txt:4 'obj_train_data/b.jpg 1,2,3,4,0'" in finding.message


def write_voc(root: Path, *lines: str) -> Path:
    for stem in ("a", "b", "my cat"):
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        write_text(root / "Annotations" / f"{stem}.xml", voc_text(BOX))
    write_text(root / "ImageSets" / "Main" / "train.txt", "\n".join(lines))
    return root


@pytest.mark.parametrize(
    "lines",
    [
        ["a.jpg", "my cat.jpg"],
        ["a.jpg 1", "b.jpg -1", "my cat.jpg  1"],
        ["a", "my cat"],
        ["a  1", "b -1", '"my cat"'],
        ["JPEGImages/a.jpg Annotations/a.xml", "JPEGImages/my cat.jpg Annotations/my cat.xml"],
        ["./JPEGImages/a.jpg\tAnnotations/a.xml", "./JPEGImages/my cat.jpg Annotations/my cat.xml"],
        ["VOC/JPEGImages/a.jpg", "VOC/JPEGImages/my cat.jpg"],
    ],
)
def test_image_sets(tmp_path: Path, lines: list[str]) -> None:
    index = open_dataset(write_voc(tmp_path, *lines), "train")
    assert [item.path.name for item in index] == ["a.jpg", "my cat.jpg"]
    assert index.class_counts.tolist() == [2]


def test_a_pair_names_the_xml_of_its_image(tmp_path: Path) -> None:
    root = write_voc(tmp_path, "JPEGImages/a.jpg corrected/a.xml")
    write_text(tmp_path / "corrected" / "a.xml", voc_text([*BOX, ("ant", 2, 2, 9, 9)]))
    assert open_dataset(root, "train").names == ("ant", "dog")
