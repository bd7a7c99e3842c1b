"""Predicting on whatever can be looked at."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.deploy.conftest import NAMES, SIZE
from tutelage import predict
from tutelage.deploy.picture_detections import draw_detections
from tutelage.deploy.predict import predict_each
from tutelage.deploy.runtime import open_model
from tutelage.deploy.sources import list_files, read_frames
from tutelage.errors import ConfigError, DataError, MissingExtraError
from tutelage.evaluation.predictor import half_precision, predictor
from tutelage.models import GraphDetector
from tutelage.structures import Detections
from tutelage.weights.store import save_best

PICTURE = np.random.default_rng(3).integers(0, 255, (40, 60, 3), dtype=np.uint8)
SETTINGS = {"img_size": SIZE, "device": "cpu", "conf": 0.1}


def same(one: Detections, other: Detections) -> None:
    torch.testing.assert_close(one.xyxy, other.xyxy, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(one.score, other.score, atol=1e-5, rtol=1e-4)
    assert torch.equal(one.label, other.label)


@pytest.fixture
def expected(detector: GraphDetector) -> Detections:
    [found] = predict(detector, PICTURE, **SETTINGS)
    return found


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Seven frames, the picture in ever darker shades."""
    path = tmp_path / "film.avi"
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), code, 10, (60, 40))
    for shade in range(7):
        writer.write(np.ascontiguousarray(PICTURE[..., ::-1] // (shade + 1)))
    writer.release()
    return path


def test_detections_lie_in_the_picture(expected: Detections) -> None:
    assert len(expected.score) > 3
    assert expected.names == NAMES
    assert expected.score.min() > 0.1
    assert (expected.score.diff() <= 0).all()
    assert expected.xyxy.min() >= 0
    assert (expected.xyxy <= torch.tensor([60, 40, 60, 40])).all()


def test_a_run_folder_knows_its_size(detector, run) -> None:
    [found] = predict(run, PICTURE, device="cpu", conf=0.1)
    same(found, predict(detector, PICTURE, **SETTINGS)[0])


def test_batches_change_nothing(detector) -> None:
    pictures = [PICTURE, PICTURE[:, ::-1].copy(), PICTURE[:, :30].copy(), PICTURE // 2, PICTURE]
    one_by_one = [predict(detector, each, **SETTINGS)[0] for each in pictures]
    for batch in (2, 8):
        together = predict(detector, pictures, batch_size=batch, **SETTINGS)
        assert len(together) == 5
        for mine, theirs in zip(together, one_by_one, strict=True):
            same(mine, theirs)


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_an_exported_file_finds_the_same(to, graph, run, expected) -> None:
    if to == "openvino":
        pytest.importorskip("openvino")
    from tutelage import export

    for nms in (False, True):
        path = export(run, to, nms=nms, conf=0.1).path
        [found] = predict(path, PICTURE, device="cpu", conf=0.1)
        same(found, expected)
        assert found.names == NAMES


def test_signals_find_a_stack_after_openvino(graph, run) -> None:
    pytest.importorskip("openvino")
    from tutelage import export

    file = str(export(run, "openvino").path)
    code = (
        "import gc, signal, sys; from tutelage.deploy.runtime import open_model\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "first = open_model(sys.argv[1]); second = open_model(sys.argv[1])\n"
        "del first; gc.collect(); del second; gc.collect()\n"
        "signal.raise_signal(signal.SIGINT)"
    )
    ended = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended.stderr


def test_settings(detector, expected) -> None:
    [one] = predict(detector, PICTURE, classes=["platelet"], **SETTINGS)
    assert set(one.label.tolist()) == {1}
    same(one, predict(detector, PICTURE, classes=[1], **SETTINGS)[0])
    [three] = predict(detector, PICTURE, max_det=3, **SETTINGS)
    assert torch.equal(three.score, expected.score[:3])
    [few] = predict(detector, PICTURE, iou=0.01, **SETTINGS)
    assert 0 < len(few.score) < len(expected.score)
    with pytest.raises(ConfigError, match="--classes platelets") as caught:
        predict(detector, PICTURE, classes=["platelets"], **SETTINGS)
    assert "Did you mean 'platelet'?" in caught.value.fix
    with pytest.raises(ConfigError, match="must be a multiple of 16"):
        predict(detector, PICTURE, img_size=70)
    with pytest.raises(ConfigError, match="is not a device"):
        predict(detector, PICTURE, device="gpu")


def test_unusual_pictures_look_as_they_should(tmp_path: Path) -> None:
    grey = PICTURE[..., 0]
    deep = grey.astype(np.uint16) * 257
    alpha = np.dstack([PICTURE, np.zeros_like(grey)])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(PICTURE).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "grey16.png"), deep)
    cv2.imwrite(str(tmp_path / "colour16.tif"), PICTURE[..., ::-1].astype(np.uint16) * 257)
    found = {frame.path.stem: frame.image for frame in read_frames(tmp_path)}
    threefold = np.dstack([grey] * 3)
    wanted = {
        "turned": np.rot90(PICTURE, -1),
        "alpha": PICTURE,
        "grey": threefold,
        "grey16": threefold,
        "colour16": PICTURE,
    }
    assert sorted(found) == sorted(wanted)
    for name, image in wanted.items():
        assert np.array_equal(found[name], image), name


def test_folders_patterns_and_lists(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "deep/c.png", ".hidden/d.png", ".e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), PICTURE)
    (tmp_path / "note.txt").write_text("no picture")

    def names(source) -> list[str]:
        return [file.name.as_posix() for file in list_files(source)]

    assert names(tmp_path) == ["a.jpg", "b.png", "deep/c.png"]
    assert names(str(tmp_path / "*.png")) == ["b.png"]
    assert names(str(tmp_path / "**" / "*.png")) == ["b.png", "deep/c.png"]
    assert names(tmp_path / "a.jpg") == ["a.jpg"]
    several = [tmp_path / "a.jpg", PICTURE, tmp_path / "deep"]
    assert [x.name.as_posix() for x in read_frames(several)] == ["a.jpg", "image-1.png", "c.png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.png", r"none.png does not exist. Did you mean 'one.png'"),
        ("*.gif", "No image or video matches the pattern"),
        ("note.txt", "neither an image nor a video"),
        ("empty", "contains no image or video"),
        ("https://me:secret@example.org/a.jpg?key=1", r"https://\*{3}@example.org/a.jpg\?\*{3} is"),
        ("s3://bucket/a.mp4", "is neither a file nor a stream"),
        ("broken.png", "Nothing could be read: broken.png cannot be read"),
        ("broken.mp4", "Nothing could be read: broken.mp4 cannot be read"),
        (np.zeros((4, 4), np.uint8), "Expected an RGB array"),
        ([], "the source is empty"),
    ],
)
def test_bad_sources(source, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("one.png", PICTURE)
    (tmp_path / "empty").mkdir()
    for name in ("note.txt", "broken.png", "broken.mp4"):
        (tmp_path / name).write_text("text")
    with pytest.raises(DataError, match=message):
        list(read_frames(source))


def test_pictures_called_alike_are_told_apart(tmp_path: Path) -> None:
    for name in ("one/x.jpg", "two/deep/x.jpg", "two/y.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), PICTURE)

    def names(*sources: str) -> list[str]:
        found = read_frames([tmp_path / each for each in sources])
        return [frame.name.as_posix() for frame in found]

    assert names("one", "two/deep") == ["one/x.jpg", "two/deep/x.jpg"]
    assert names("one/x.jpg", "two/deep/x.jpg") == ["one/x.jpg", "two/deep/x.jpg"]
    assert names("one", "two") == ["x.jpg", "deep/x.jpg", "y.jpg"]
    assert names("one/x.jpg", "one/x.jpg") == ["x.jpg", "x.jpg"]


def test_a_video_cut_short_is_told(film, tmp_path, caplog) -> None:
    path = tmp_path / "short.avi"
    path.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        count = len(list(read_frames(path)))
    assert 0 < count < 6
    assert caplog.messages == [f"{path}: only {count} of 7 frames can be decoded."]


def test_thresholds_below_those_of_the_file_are_told(graph, run, caplog) -> None:
    from tutelage import export
    from tutelage.evaluation.validate import validate

    path = export(run, nms=True, conf=0.2).path
    with caplog.at_level(logging.WARNING):
        predict(path, PICTURE, device="cpu", conf=0.1)
        validate(open_model(path, "cpu"), data=run.parent / "d.yaml")
    told = [each for each in caplog.messages if "its own suppression" in each]
    assert len(told) == 2
    assert all("drops scores under 0.2" in each for each in told)
    caplog.clear()
    predict(path, PICTURE, device="cpu")
    assert not caplog.messages


def test_classes_may_suppress_each_other(detector, expected) -> None:
    [one] = predict(detector, PICTURE, agnostic_nms=True, **SETTINGS)
    assert 0 < len(one.score) < len(expected.score)


def test_half_precision_of_a_checkpoint(detector) -> None:
    exact = predictor(detector.fused())
    half = predictor(half_precision(detector.fused()))
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        one, other = exact(images), half(images)
    assert other.xyxy.dtype == torch.float32
    assert 0 < (one.xyxy - other.xyxy).abs().max() < 0.02 * SIZE
    assert torch.equal(
        half_precision(detector.fused()).head.anchor_sizes, detector.head.anchor_sizes
    )


@pytest.mark.parametrize("batch", [1, 8])
def test_one_bad_file_costs_no_other_and_keeps_its_place(detector, tmp_path, caplog, batch) -> None:
    files = [tmp_path / name for name in ("a.png", "b.png", "bad.png", "bad.mp4", "c.png")]
    for path in files:
        cv2.imwrite(str(path), PICTURE) if "bad" not in path.name else path.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        found = predict(detector, files, batch_size=batch, **SETTINGS)
    assert [each.path for each in found] == files
    good, bad = found[0], found[2]
    assert [each.error is None for each in found] == [True, True, False, False, True]
    assert [len(each) == len(good) > 3 for each in found] == [True, True, False, False, True]
    assert (len(bad), bad.xyxy.shape, bad.label.dtype) == (0, (0, 4), torch.int64)
    assert bad.names == NAMES
    assert bad.error == f"{files[2]} cannot be read: the file is empty"
    assert caplog.messages[0] == f"{bad.error}. Skipped."
    assert found[3].error.startswith(f"{files[3]} cannot be read: it has no frame")
    with pytest.raises(DataError, match="the file is empty"):
        bad.plot()


def test_detections_know_their_file_and_draw_themselves(detector, film, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    path = tmp_path / "turned.png"
    Image.fromarray(PICTURE).save(path, exif=exif)
    [found] = predict(detector, str(path), **SETTINGS)
    assert (found.path, found.frame, found.error) == (path, None, None)
    upright = np.ascontiguousarray(np.rot90(PICTURE, -1))
    drawn = found.plot()
    assert (drawn.shape, drawn.dtype) == ((60, 40, 3), np.uint8)
    assert np.array_equal(drawn, draw_detections(upright, found))
    assert not np.array_equal(drawn, upright)
    fewer = found[:1]
    assert fewer.path == path
    assert np.array_equal(fewer.plot(), draw_detections(upright, fewer))

    [array] = predict(detector, PICTURE, **SETTINGS)
    assert array.path is None
    assert np.array_equal(array.plot(), draw_detections(PICTURE, array))
    other = PICTURE // 2
    assert np.array_equal(array.plot(other), draw_detections(other, array))

    frames = predict(detector, film, **SETTINGS)
    assert [(each.path, each.frame) for each in frames] == [(film, i) for i in range(7)]
    fourth = list(read_frames(film))[4].image
    assert np.array_equal(frames[4].plot(), draw_detections(fourth, frames[4]))


def test_a_picture_that_is_gone_cannot_be_drawn(detector, tmp_path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PICTURE)
    [found] = predict(detector, path, **SETTINGS)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        found.plot()
    assert found.plot(PICTURE).shape == PICTURE.shape


def test_a_video_is_not_held_in_memory(detector, film, monkeypatch) -> None:
    frames = list(read_frames(film))
    assert [frame.number for frame in frames] == list(range(7))
    assert {frame.rate for frame in frames} == {10}
    drawn: list[int] = []

    def counted(source, **options):
        for frame in read_frames(source, **options):
            drawn.append(frame.number)
            yield frame

    monkeypatch.setattr("tutelage.deploy.predict.read_frames", counted)
    seen = predict_each(detector, film, batch_size=2, **SETTINGS)
    numbers = []
    for each in seen:
        numbers.append(each.frame.number)
        assert len(drawn) <= len(numbers) + 2  # what is seen, the batch, the one after it
    assert numbers == drawn == list(range(7))


def test_supervision(expected: Detections, monkeypatch) -> None:
    sv = pytest.importorskip("supervision")
    found = expected.to_supervision()
    assert isinstance(found, sv.Detections)
    assert np.array_equal(found.xyxy, expected.xyxy.numpy())
    assert found.data["class_name"].tolist() == [NAMES[i] for i in expected.label]
    assert len(expected[:0].to_supervision()) == 0


def test_supervision_is_asked_for(expected: Detections, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tutelage\[supervision\]'"):
        expected.to_supervision()


def test_the_range_of_the_training_holds_for_pictures(
    detector: GraphDetector, tmp_path: Path, expected: Detections
) -> None:
    """Pictures of 12 bits in 16, which are nearly black without it."""
    meta = {"arch": detector.arch, "arch_name": "x", "names": list(NAMES), "image_size": SIZE}
    save_best(tmp_path / "m.safetensors", detector.state_dict(), {**meta, "image_range": [0, 4080]})
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE[..., ::-1].astype(np.uint16) * 16)
    [found] = predict(tmp_path / "m.safetensors", tmp_path / "a.png", **SETTINGS)
    same(found, expected)
    [dark] = predict(detector, tmp_path / "a.png", **SETTINGS)
    assert dark.score.tolist() != found.score.tolist()
