"""COCO jsons as other tools write them: ids, categories, masks, folders, frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco import mask
from PIL import Image

from tests.data.annotation_files import write_coco
from tests.data.write_dataset import write_image, write_text, write_yaml
from tutelage.data import DatasetIndex, open_dataset, open_splits
from tutelage.data.formats.stated_frame import StatedFrame
from tutelage.data.image import read_image
from tutelage.errors import DataError

ONE = {"a.png": [("dog", 8.0, 12.0, 40.0, 36.0)]}
BOX = [8.0, 12.0, 32.0, 24.0]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def opened(folder: Path, **changes: Any) -> DatasetIndex:
    """A json of one image, with these changes of its keys."""
    write_image(folder / "a.png")
    return open_dataset(write_coco(folder / "train.json", ONE, **changes), "train", strict=False)


def codes(index: DatasetIndex) -> list[str]:
    return [finding.code for finding in index.findings]


@pytest.mark.parametrize(
    ("image", "category", "image_id", "category_id"),
    [
        pytest.param(5.0, 7.0, 5, 7, id="floats"),
        pytest.param(5, 7, 5.0, 7.0, id="floats in the annotations"),
        pytest.param("5", "7", 5, 7, id="text"),
        pytest.param(5, 7, "5", "7", id="text in the annotations"),
        pytest.param("a7f", "d", "a7f", "d", id="words"),
        pytest.param(5, 7, 5, "dog", id="the category's name"),
    ],
)
def test_ids(
    tmp_path: Path, image: object, category: object, image_id: object, category_id: object
) -> None:
    index = opened(
        tmp_path,
        images=[{"id": image, "file_name": "a.png", "width": 64, "height": 48}],
        categories=[{"id": category, "name": "dog"}],
        annotations=[{"image_id": image_id, "category_id": category_id, "bbox": BOX}],
    )
    assert (codes(index), index.names) == ([], ("dog",))
    assert index.item(0).xyxy.tolist() == [[8, 12, 40, 36]]
    assert index.image_ids.tolist() == [int(image) if isinstance(image, float) else image]


def test_categories_as_text(tmp_path: Path) -> None:
    found = [{"image_id": 100, "category_id": "cat", "bbox": BOX}]
    index = opened(tmp_path, categories=["dog", "cat"], annotations=found)
    assert (index.names, index.labels.tolist(), codes(index)) == (("dog", "cat"), [1], [])


def test_ids_of_text_are_ordered_like_numbers(tmp_path: Path) -> None:
    names = [{"id": str(key), "name": f"c{key}"} for key in (10, 9, 2)]
    index = opened(tmp_path, categories=names, annotations=[])
    assert index.names == ("c2", "c9", "c10")


def _runs() -> list[int]:
    """Run lengths, column by column, of a mask that fills BOX."""
    inside = np.zeros((48, 64), np.uint8)
    inside[12:36, 8:40] = 1
    flat = inside.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *edges.tolist(), flat.size]).tolist()


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param([[8, 12, 40, 12, 40, 36, 8, 36]], id="polygon"),
        pytest.param([[8, 12, 20, 12, 20, 20], [30, 30, 40, 36, 30, 36]], id="two polygons"),
        pytest.param([8, 12, 40, 12, 40, 36, 8, 36], id="no list around it"),
        pytest.param({"size": [48, 64], "counts": _runs()}, id="run lengths"),
        pytest.param(
            {
                "size": [48, 64],
                "counts": mask.fr_py_objects({"size": [48, 64], "counts": _runs()}, 48, 64)[
                    "counts"
                ].decode(),
            },
            id="compressed",
        ),
    ],
)
@pytest.mark.parametrize("box", [{}, {"bbox": []}, {"bbox": None}])
def test_a_mask_without_a_box(tmp_path: Path, segmentation: object, box: dict[str, Any]) -> None:
    found = {"image_id": 100, "category_id": 7, "segmentation": segmentation} | box
    index = opened(tmp_path, annotations=[found])
    assert codes(index) == []
    assert index.item(0).xyxy.tolist() == [[8, 12, 40, 36]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 2, 3]],
        [["a"] * 6],
        [[1, 2], 3],
        {"size": [48], "counts": [3]},
        {"size": [48, 64], "counts": [3]},
        {"size": [48, 64]},
        {"size": ["a", 1], "counts": "x"},
        5,
    ],
)
def test_masks_that_are_none(tmp_path: Path, segmentation: object) -> None:
    found = {"image_id": 100, "category_id": 7, "segmentation": segmentation}
    index = opened(tmp_path, annotations=[found])
    assert len(index.boxes) == 0
    assert codes(index)[0] in ("label-malformed", "label-not-a-number")


def test_lvis_has_addresses(tmp_path: Path) -> None:
    write_image(tmp_path / "val2017" / "a.png")
    entry = {"id": 100, "width": 64, "height": 48}
    entry["coco_url"] = "http://images.cocodataset.org/val2017/a.png"
    path = write_coco(tmp_path / "annotations" / "lvis_v1_val.json", ONE, images=[entry])
    index = open_dataset(path, "val")
    assert index.path(0) == tmp_path / "val2017" / "a.png"
    assert len(index.boxes) == 1


def test_a_category_that_groups_the_others_is_no_class(tmp_path: Path) -> None:
    """What Roboflow writes: category 0, often named like the only class."""
    root = {"id": 0, "name": "dog", "supercategory": "none"}
    dog = {"id": 7, "name": "dog", "supercategory": "dog"}
    index = opened(tmp_path, categories=[root, dog])
    assert (index.names, index.category_ids, codes(index)) == (("dog",), (7,), ["class-group"])
    used = [{"image_id": 100, "category_id": 0, "bbox": BOX}]
    with pytest.raises(DataError, match="two categories are called 'dog'"):
        opened(tmp_path, categories=[root, dog], annotations=used)
    root["name"] = "animal"
    assert opened(tmp_path, categories=[root, dog]).names == ("animal", "dog")
    dog["supercategory"] = "animal"
    assert opened(tmp_path, categories=[root, dog]).names == ("dog",)
    assert opened(tmp_path, categories=[root, dog], annotations=used).names == ("animal", "dog")


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("annotations/person_keypoints_train2017.json", "train2017"),
        ("annotations/train.json", "train"),
        ("annotations/train.json", "images/train"),
        ("annotations/lvis_v1_train.json", "train2017"),
        ("annotations/train_annotations.json", "train"),
        ("annotations/instances_Train.json", "images/Train"),
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_Train.json", "train"),
        ("labels.json", "data"),
        ("labels/train.json", "images"),
        ("train.json", "pictures/of/cats"),
    ],
)
def test_folders_of_images(tmp_path: Path, name: str, images: str) -> None:
    write_image(tmp_path / images / "a.png")
    index = open_dataset(write_coco(tmp_path / name, ONE), "train")
    assert index.path(0) == tmp_path / images / "a.png"


def test_the_split_chooses_among_folders_with_the_same_names(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "a.png")
        write_coco(tmp_path / "annotations" / f"{split}.json", ONE)
    train, val = open_splits(tmp_path / "annotations" / "train.json", "train", "val")
    assert (train.path(0).parent.name, val.path(0).parent.name) == ("train", "val")
    path = write_coco(tmp_path / "annotations" / "all.json", ONE)
    with pytest.raises(DataError, match=r"several folders of .*: train, val"):
        open_dataset(path, "train")


def test_images_that_are_nowhere(tmp_path: Path) -> None:
    write_image(tmp_path / "x" / "b.png")
    path = write_coco(tmp_path / "annotations" / "train.json", ONE)
    with pytest.raises(DataError) as caught:
        open_dataset(path, "train")
    assert "none of its 1 images is found, e.g. a.png" in str(caught.value)
    for place in (tmp_path / "annotations", tmp_path, "images", "train2017"):
        assert str(place) in caught.value.where


@pytest.mark.parametrize(
    "name", ["/home/me/set/a.png", "..\\..\\set\\a.png", "C:\\set\\a.png", "upload/7/a.png"]
)
def test_names_of_another_machine(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "images" / "a.png")
    index = open_dataset(write_coco(tmp_path / "train.json", {name: ONE["a.png"]}), "train")
    assert index.path(0) == tmp_path / "images" / "a.png"
    (found,) = index.findings
    assert (found.code, found.severity) == ("path-elsewhere", "info")
    assert name.replace("\\", "/").removesuffix("/a.png") in found.message


def test_names_that_all_lead_outside_are_told(tmp_path: Path) -> None:
    write_image(tmp_path / "secret.png")
    path = write_coco(tmp_path / "set" / "train.json", {"../secret.png": []})
    with pytest.raises(DataError, match=r"all 1 file names .* e\.g\. '\.\./secret\.png'"):
        open_dataset(path, "train", strict=False)


def test_boxes_that_are_shares(tmp_path: Path) -> None:
    shares = [{"image_id": 100, "category_id": 7, "bbox": [0.1, 0.2, 0.5, 0.4]}]
    index = opened(tmp_path, annotations=shares)
    assert codes(index) == ["label-shares"]
    both = [*shares, {"image_id": 100, "category_id": 7, "bbox": BOX}]
    assert "label-shares" not in codes(opened(tmp_path, annotations=both))


def test_two_jsons_with_the_same_ids_have_positions(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png")
        write_coco(tmp_path / f"{name}.json", {f"{name}.png": ONE["a.png"]})
    path = write_yaml(tmp_path / "d.yaml", train=["a.json", "b.json"])
    index = open_dataset(path, "train")
    assert len(index) == 2
    assert (len(index.image_ids), index.category_ids) == (0, (3, 7))


def _marked(size_wh: tuple[int, int]) -> Image.Image:
    """A black picture with a white rectangle, 8…20 to the right and 4…10 down."""
    pixels = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    pixels[4:10, 8:20] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stated_frames_are_turned(tmp_path: Path, orientation: int) -> None:
    """Boxes of the stored pixels lie on the rectangle of the image as it is shown."""
    exif = Image.Exif()
    exif[0x112] = orientation
    _marked((64, 48)).save(tmp_path / "a.png", exif=exif)
    found = [{"image_id": 100, "category_id": 7, "bbox": [8, 4, 12, 6], "area": 72}]
    write_coco(tmp_path / "train.json", ONE, annotations=found)
    path = write_yaml(tmp_path / "d.yaml", train="train.json", box_frame="stated")
    item = open_dataset(path, "train").item(0)
    rows, columns = np.nonzero(read_image(item.path).max(2))
    shown = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert item.xyxy.tolist() == [shown]


def test_a_contradiction_is_an_error_until_it_is_settled(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    _marked((64, 48)).save(tmp_path / "a.png", exif=exif)
    write_coco(tmp_path / "train.json", ONE)
    with pytest.raises(DataError, match="stated 64x48, shown 48x64 because EXIF turns it") as told:
        open_dataset(tmp_path / "train.json", "train")
    assert "box_frame: shown" in (told.value.fix or "")
    for frame, box in (("shown", [8, 12, 40, 36]), ("stated", [12, 8, 36, 40])):
        path = write_yaml(tmp_path / "d.yaml", train="train.json", box_frame=frame)
        index = open_dataset(path, "train")
        assert codes(index) == ["label-size"]
        assert index.item(0).xyxy.tolist() == [box]
    path = write_yaml(tmp_path / "d.yaml", train="train.json", box_frame="raw")
    with pytest.raises(DataError, match="box_frame must be shown or stated"):
        open_dataset(path, "train")


def test_images_that_were_scaled_later(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 128, 96)
    found = [{"image_id": 100, "category_id": 7, "bbox": BOX, "area": 100}]
    write_coco(tmp_path / "train.json", ONE, annotations=found)
    assert codes(open_dataset(tmp_path / "train.json", "train", strict=False)) == ["label-frame"]
    path = write_yaml(tmp_path / "d.yaml", train="train.json", box_frame="stated")
    index = open_dataset(path, "train")
    assert index.item(0).xyxy.tolist() == [[16, 24, 80, 72]]
    assert index.areas.tolist() == [400]


@pytest.mark.parametrize(
    ("stated", "boxes", "fault"),
    [((64, 48), 0, "SIZE"), ((0, 0), 1, ""), ((128, 96), 1, ""), ((127, 96), 1, "SIZE")],
)
def test_stated_sizes_that_do_no_harm(stated: tuple[int, int], boxes: int, fault: str) -> None:
    faults = StatedFrame().check(0, stated, (128, 96), "nowhere.png", boxes=boxes)
    assert [each.fault.name for each in faults] == ([fault] if fault else [])


def test_nan_is_no_size(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    document = {"images": [{"id": 1, "file_name": "a.png", "width": "64", "height": None}]}
    document |= {"categories": [{"id": 1, "name": "a"}], "annotations": []}
    path = write_text(tmp_path / "train.json", json.dumps(document))
    assert codes(open_dataset(path, "train", strict=False)) == ["labels-empty"]


def test_chosen_classes_keep_areas_crowds_and_ids(tmp_path: Path) -> None:
    kinds = [("dog", 0), ("cat", 0), ("dog", 1), ("cat", 1)]
    found = [
        {"image_id": 100, "category_id": {"cat": 3, "dog": 7}[name], "iscrowd": crowd}
        | {"bbox": [4 * n, 4, 9, 9], "area": 10 + n}
        for n, (name, crowd) in enumerate(kinds)
    ]
    write_image(tmp_path / "a.png")
    path = write_coco(tmp_path / "train.json", ONE, annotations=found)
    index = open_dataset(path, "train", classes=["dog"])
    assert (index.names, index.category_ids, index.areas.tolist()) == (("dog",), (7,), [10])
    assert (index.ignored.label.tolist(), index.ignored.xyxy[0].tolist()) == ([0], [8, 4, 17, 13])
    one = open_dataset(path, "train", classes=["dog"], single_class=True)
    assert (one.names, one.category_ids, len(one.ignored)) == (("dog",), (), 1)
    both = open_dataset(path, "train", classes=["dog", "cat"])
    assert (both.labels.tolist(), both.category_ids) == ([0, 1], (7, 3))
