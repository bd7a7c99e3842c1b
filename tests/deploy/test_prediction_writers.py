"""Detections as files, read back by others."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from tests.data.annotation_files import write_coco
from tests.data.write_dataset import write_image
from tutelage.data.draw_boxes import colour_of
from tutelage.data.formats.yolo_labels import parse_labels
from tutelage.deploy.picture_detections import PictureDetections, draw_detections
from tutelage.deploy.predict import PredictedFrame
from tutelage.deploy.prediction_writers import (
    CocoWriter,
    LabelWriter,
    PictureWriter,
)
from tutelage.deploy.sources import Frame, list_files, read_frames
from tutelage.errors import ConfigError

FOUND = PictureDetections(
    torch.tensor([[10.0, 5, 50, 45], [0, 0, 100, 60]]),
    torch.tensor([0.9, 0.5]),
    torch.tensor([1, 0]),
    ("cell", "platelet"),
)
NOTHING = FOUND[:0]


def frame(name: str = "deep/a.png", number: int | None = None) -> Frame:
    image = np.full((60, 100, 3), 90, np.uint8)
    return Frame(Path("photos") / name, Path(name), number, image, 10.0)


def test_labels_are_yolo_lines(tmp_path: Path) -> None:
    plain, scored = LabelWriter(tmp_path / "a"), LabelWriter(tmp_path / "b", scores=True)
    for saver in (plain, scored):
        saver.add(PredictedFrame(frame(), FOUND))
        saver.add(PredictedFrame(frame("film.mp4", 3), NOTHING))
        saver.close()
    text = (tmp_path / "a" / "deep" / "a.txt").read_text()
    assert text.splitlines()[0] == "1 0.300000 0.416667 0.400000 0.666667"
    rows, bad = parse_labels(text)
    assert (len(rows), bad) == (2, [])
    assert (tmp_path / "b" / "deep" / "a.txt").read_text().splitlines()[1].endswith(" 0.500000")
    assert (tmp_path / "a" / "film_000003.txt").read_text() == ""


def test_coco_file(tmp_path: Path) -> None:
    saver = CocoWriter(tmp_path / "out" / "found.json")
    for each in (PredictedFrame(frame(), FOUND), PredictedFrame(frame("film.mp4", 0), NOTHING)):
        saver.add(each)
    saver.close()
    content = json.loads((tmp_path / "out" / "found.json").read_text())
    assert [x["file_name"] for x in content["images"]] == ["deep/a.png", "film.mp4"]
    assert content["images"][1]["frame"] == 0
    read = COCO(str(tmp_path / "out" / "found.json"))
    boxes = [(x["category_id"], x["bbox"], x["score"]) for x in read.loadAnns(read.getAnnIds(0))]
    assert boxes == [(1, [10, 5, 40, 40], 0.9), (0, [0, 0, 100, 60], 0.5)]
    assert [x["name"] for x in read.loadCats(read.getCatIds())] == ["cell", "platelet"]


def test_pictures_and_videos(tmp_path: Path) -> None:
    saver = PictureWriter(tmp_path)
    saver.add(PredictedFrame(frame(), FOUND))
    saver.add(PredictedFrame(frame("photo.mpo"), FOUND))
    for number in range(5):
        saver.add(PredictedFrame(frame("film.webm", number), FOUND))
    saver.add(PredictedFrame(frame("b.jpg"), NOTHING))
    saver.close()
    kept = sorted(x.relative_to(tmp_path).as_posix() for x in tmp_path.rglob("*") if x.is_file())
    assert kept == ["b.jpg", "deep/a.png", "film.mp4", "photo.png"]
    frames = list(read_frames(tmp_path / "film.mp4"))
    assert (len(frames), frames[0].rate, frames[0].image.shape) == (5, 10, (60, 100, 3))
    written = cv2.imread(str(tmp_path / "deep" / "a.png"))[..., ::-1]
    assert np.array_equal(written, draw_detections(frame().image, FOUND))


def test_a_recording_of_a_live_stream_keeps_its_pace(tmp_path: Path) -> None:
    saver = PictureWriter(tmp_path)
    for number in (3, 4, 9, 11):  # 5 to 8 and 10 were skipped
        live = frame("camera-0.mp4", number)._replace(path=None, stream="camera 0", live=True)
        if number == 11:  # the stream changes its size
            live = live._replace(image=np.full((30, 50, 3), 90, np.uint8))
        saver.add(PredictedFrame(live, FOUND))
    saver.close()
    assert [each.name for each in tmp_path.iterdir()] == ["camera-0.mp4"]
    kept = list(read_frames(tmp_path / "camera-0.mp4"))
    assert [each.image.shape for each in kept] == [(60, 100, 3)] * 9


def test_no_picture_is_replaced_by_its_annotated_form(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), frame().image)
    with pytest.raises(ConfigError, match="would overwrite"):
        PictureWriter(tmp_path).add(
            PredictedFrame(frame()._replace(path=path, name=Path("a.png")), FOUND)
        )


def test_nothing_is_written_over_anything_else(tmp_path: Path) -> None:
    names = ("x.jpg", "x.png", "x.mpo", "x.png")
    labels, pictures = LabelWriter(tmp_path / "txt"), PictureWriter(tmp_path / "out")
    for name in names:
        for saver in (labels, pictures):
            saver.add(PredictedFrame(frame(name), FOUND))
    for name in ("film.avi", "film.webm"):
        for saver in (labels, pictures):
            saver.add(PredictedFrame(frame(name, 0), FOUND))
    pictures.close()

    def kept(folder: str) -> list[str]:
        return sorted(each.name for each in (tmp_path / folder).iterdir())

    assert kept("txt") == [
        "film.webm_000000.txt", "film_000000.txt", "x.mpo.txt", "x.png.txt", "x.txt",
    ]  # fmt: skip
    assert kept("out") == ["film.mp4", "film.webm.mp4", "x.jpg", "x.mpo.png", "x.png"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    for make in (PictureWriter, LabelWriter):
        with pytest.raises(ConfigError, match="a is a file, not a folder"):
            make(tmp_path / "a" / "b")
    with pytest.raises(ConfigError, match="is a folder; give a file"):
        CocoWriter(tmp_path)
    saver = PictureWriter(tmp_path)
    odd = frame("long.avi", 0)._replace(image=np.zeros((1, 70000, 3), np.uint8))
    with pytest.raises(ConfigError, match="no video of 70000x1"):
        saver.add(PredictedFrame(odd, NOTHING))
    saver.close()
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_drawing_leaves_the_picture_alone() -> None:
    image = frame().image
    drawn = draw_detections(image, FOUND)
    assert (image == 90).all()
    side = drawn[25, 10].astype(int) - colour_of(1)  # the left side of the first box
    assert abs(side).max() < 30
    assert tuple(drawn[30, 30]) == (90, 90, 90)  # nothing inside it
    assert np.array_equal(draw_detections(image, NOTHING), image)
    nameless = PictureDetections(FOUND.xyxy, FOUND.score, FOUND.label)
    assert not np.array_equal(draw_detections(image, nameless), image)


def test_a_coco_json_as_source_lends_its_ids(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "images" / "b.png")
    source = write_coco(tmp_path / "val.json", {"b.png": [], "a.png": []})
    files = list_files(source)
    assert [each.path.name for each in files] == ["b.png", "a.png"]
    writer = CocoWriter(tmp_path / "found.json", source)
    image = np.zeros((48, 64, 3), np.uint8)
    found = PictureDetections(
        torch.tensor([[1.0, 2, 11, 12]] * 3),
        torch.tensor([0.9, 0.8, 0.7]),
        torch.tensor([0, 1, 2]),
        ("dog", "cow", "cat"),
    )
    for each in files:
        writer.add(PredictedFrame(Frame(each.path, each.name, None, image), found))
    writer.close()
    content = json.loads((tmp_path / "found.json").read_text())
    assert [each["id"] for each in content["images"]] == [100, 101]
    rows = [(each["image_id"], each["category_id"]) for each in content["annotations"]]
    assert rows == [(100, 7), (100, 8), (100, 3), (101, 7), (101, 8), (101, 3)]
    names = {each["id"]: each["name"] for each in content["categories"]}
    assert names == {7: "dog", 8: "cow", 3: "cat"}
