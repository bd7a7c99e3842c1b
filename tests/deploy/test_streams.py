"""Cameras and streams, played by captures that are none and by videos on a local address."""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.deploy.conftest import SIZE
from tutelage import predict, predict_each
from tutelage.deploy import streams
from tutelage.deploy.sources import read_frames
from tutelage.deploy.streams import Stream, as_stream, newest_frames, open_capture, why_closed
from tutelage.errors import ConfigError, DataError

SETTINGS = {"img_size": SIZE, "device": "cpu", "conf": 0.1}
ADDRESS = "rtsp://me:se/cr@et@cam.local:554/live/1?token=abc"
SHOWN = "rtsp://***@cam.local:554/live/1?***"


class Camera:
    """Stands for ``cv2.VideoCapture``: frames whose pixels hold their number, then it ends."""

    def __init__(self, frames: int, *, count: float = -1.0, wait: threading.Event | None = None):
        self.frames, self.count, self.wait = frames, count, wait
        self.given, self.released, self.drained = 0, threading.Event(), threading.Event()

    def isOpened(self) -> bool:
        return True

    def get(self, which: int) -> float:
        return self.count if which == cv2.CAP_PROP_FRAME_COUNT else 90000.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        assert not self.released.is_set()
        if self.wait is not None and self.given == 1:
            assert self.wait.wait(60)
        if self.given == self.frames:
            self.drained.set()
            return False, None
        self.given += 1
        if self.frames > 10**6:  # an endless one leaves time for others
            time.sleep(0.001)
        return True, np.full((40, 60, 3), (self.given - 1) % 256, np.uint8)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def plug(monkeypatch):
    """Let OpenCV open a camera of this test, and remember what was opened."""
    opened = []

    def plugged(camera: Camera) -> list:
        def capture(target: object) -> Camera:
            opened.append(target)
            return camera

        monkeypatch.setattr(cv2, "VideoCapture", capture)
        return opened

    return plugged


def test_what_is_a_stream(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    for source, target, title in [
        (0, 0, "camera 0"),
        ("1", 1, "camera 1"),
        (ADDRESS, ADDRESS, SHOWN),
        ("HTTP://h/a.mp4", "HTTP://h/a.mp4", "HTTP://h/a.mp4"),
    ]:
        stream = as_stream(source)
        assert stream is not None
        assert (stream.target, stream.title) == (target, title)
    assert as_stream("/dev/null").target == "/dev/null"  # a device, as /dev/video0
    for source in ("7", "a.jpg", Path("photos"), "*.png"):
        assert as_stream(source) is None


def test_recordings_are_called_after_camera_and_time_never_after_a_password() -> None:
    for source, name in [(2, "camera-2"), (ADDRESS, "cam.local-554-live-1")]:
        stream = as_stream(source)
        assert re.fullmatch(rf"{re.escape(name)}-\d{{8}}-\d{{6}}\.mp4", str(stream.name))


def test_a_live_stream_gives_its_newest_frame_and_holds_one() -> None:
    go = threading.Event()
    camera = Camera(1000, wait=go)
    frames = newest_frames(camera)
    first = next(frames)
    assert (first.number, first.image.max()) == (0, 0)
    go.set()  # 999 more arrive while the consumer is busy
    assert camera.drained.wait(60)
    assert [frame.number for frame in frames] == [999]
    assert camera.released.is_set()


def test_leaving_a_live_stream_lets_go_of_it() -> None:
    camera = Camera(10**9)
    frames = newest_frames(camera)
    next(frames)
    frames.close()
    assert camera.released.wait(60)


def test_a_capture_that_fails_is_no_end_of_the_stream(monkeypatch) -> None:
    camera = Camera(3)
    monkeypatch.setattr(camera, "read", lambda: [][0])
    with pytest.raises(IndexError):
        list(newest_frames(camera))
    assert camera.released.is_set()


@pytest.mark.parametrize("source", [0, "0", ADDRESS])
def test_a_camera_is_predicted_frame_by_frame(detector, plug, source, caplog) -> None:
    camera = Camera(50)
    opened = plug(camera)
    with caplog.at_level(logging.INFO):
        seen = list(predict_each(detector, source, batch_size=8, **SETTINGS))
    assert opened == [0 if source == "0" else source]
    numbers = [each.frame.number for each in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 49  # the last one is never skipped
    frame, found = seen[-1]
    assert (frame.live, frame.rate, frame.path) == (True, 25.0, None)  # 90000 is no rate
    assert (found.path, found.frame, found.image) == (None, 49, None)
    assert found.plot(frame.image).shape == (40, 60, 3)
    with pytest.raises(DataError, match="kept in no file"):
        found.plot()
    title = SHOWN if source == ADDRESS else "camera 0"
    assert caplog.messages == [f"Opening {title}.", f"{title} has ended after frame 49."]


def test_each_live_frame_is_told_before_the_next_one(detector, plug) -> None:
    go = threading.Event()
    plug(Camera(2, wait=go))
    seen = predict_each(detector, 0, batch_size=8, **SETTINGS)
    assert next(seen).frame.number == 0  # though the batch is not full
    go.set()
    assert [each.frame.number for each in seen] == [1]


def test_a_stream_that_knows_its_end_is_a_video(detector, plug) -> None:
    plug(Camera(12, count=12.0))
    found = predict(detector, "https://host/film.mp4", batch_size=5, **SETTINGS)
    assert [each.frame for each in found] == list(range(12))  # none is skipped


def test_there_is_no_list_of_an_endless_stream(detector, plug) -> None:
    camera = Camera(10**9)
    plug(camera)
    with pytest.raises(ConfigError, match="camera 0 has no end") as caught:
        predict(detector, 0, **SETTINGS)
    assert "predict_each" in caught.value.fix
    assert camera.released.wait(60)


def test_a_video_at_an_address(tmp_path) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), code, 10, (60, 40))
    for shade in range(6):
        writer.write(np.full((40, 60, 3), 40 * shade, np.uint8))
    writer.release()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    try:
        frames = list(read_frames(f"http://{host}/film.mp4"))
        with pytest.raises(DataError, match=f"http://{host}/none.mp4 cannot be opened: it sends"):
            list(read_frames(f"http://{host}/none.mp4"))
    finally:
        server.shutdown()
        server.server_close()
    assert [(each.number, each.live, each.rate) for each in frames] == [
        (number, False, 10) for number in range(6)
    ]
    assert [round(each.image.mean() / 40) for each in frames] == list(range(6))


def test_what_cannot_be_opened_is_told_without_a_password_or_noise(capfd) -> None:
    for source, message in [
        (99, "camera 99 cannot be opened: there is no such camera, or another program uses it."),
        ("rtsp://me:secret@127.0.0.1:9/x", "rtsp://***@127.0.0.1:9/x cannot be opened: 127.0.0.1:9"
         " cannot be reached (Connection refused)."),
        ("rtsp://me:a/b@127.0.0.1:9/x", "rtsp://***@127.0.0.1:9/x cannot be opened: its port is"
         " not a number."),
        ("udp://me:secret@host.invalid:1/x", "udp://***@host.invalid:1/x cannot be opened: it"
         " sends no video that OpenCV can read."),
    ]:  # fmt: skip
        with pytest.raises(DataError) as caught:
            list(read_frames(source))
        assert caught.value.what == message
        assert caught.value.fix
    assert capfd.readouterr() == ("", "")


def test_a_stream_stands_alone(plug) -> None:
    plug(Camera(1))
    for sources in ([0, 1], [0, np.zeros((4, 4, 3), np.uint8)]):
        with pytest.raises(DataError, match="camera 0 has no end: what comes after"):
            list(read_frames(sources))
    plug(Camera(0))
    with pytest.raises(DataError, match="camera 0 was opened, but sends no picture"):
        list(read_frames([0]))


def test_a_camera_that_may_not_be_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(streams.Path, "glob", lambda self, pattern: [Path("/dev/video0")])
    monkeypatch.setattr("os.access", lambda path, mode: False)
    reason, fix = why_closed(Stream(0, "camera 0", Path("c.mp4")))
    assert reason == "/dev/video0 may not be read"
    assert "group" in fix
    assert why_closed(Stream(1, "camera 1", Path("c.mp4")))[1] == "Cameras here: /dev/video0"


def test_the_silence_is_that_of_opening_alone(tmp_path) -> None:
    before = cv2.utils.logging.getLogLevel()
    open_capture(str(tmp_path / "none.mp4"))
    assert cv2.utils.logging.getLogLevel() == before
