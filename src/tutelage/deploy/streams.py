"""Cameras and network streams, read by OpenCV."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2

from tutelage.data.image import is_image
from tutelage.errors import DataError
from tutelage.sanitise import hide_credentials

PORTS = {"http": 80, "https": 443, "rtmp": 1935, "rtmps": 443, "rtsp": 554, "rtsps": 322}
SCHEMES = (*PORTS, "rtp", "srt", "tcp", "udp")
WAIT = 5.0  # seconds, for an answer of a host, and for a capture to end
MOST_FPS = 1000.0  # streams without a rate state the ticks of their clock, 90000


class CapturedFrame(NamedTuple):
    """The number of a frame, from 0, and its picture ``(h, w, 3)`` uint8, BGR."""

    number: int
    image: Any


class Stream(NamedTuple):
    """A camera or a network stream.

    Attributes:
        target: What OpenCV opens: the number or device of a camera, or an address.
        title: How it is shown: ``camera 0``, or the address without its password.
        name: The file name of its recording, with the present time: no other is replaced.
    """

    target: int | str
    title: str
    name: Path


def as_stream(source: object) -> Stream | None:
    """Return a source as a stream, or None if it is something else.

    Args:
        source: The number of a camera, as a number or text that is no file, a camera's device, or
            an address like ``rtsp://…``.

    Raises:
        DataError: It is an address that OpenCV does not read as a video.
    """
    if isinstance(source, int):
        return _camera(source)
    if not isinstance(source, str | Path):
        return None
    text = str(source)
    if isinstance(source, str) and "://" in text:
        return _address(text)
    if text.isdecimal() and not Path(text).exists():
        return _camera(int(text))
    if Path(text).is_char_device():
        return Stream(text, text, _recording(Path(text).name))
    return None


def _camera(number: int) -> Stream:
    return Stream(number, f"camera {number}", _recording(f"camera-{number}"))


def _address(text: str) -> Stream:
    title = hide_credentials(text)
    scheme = text.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise DataError(
            f"{title} is neither a file nor a stream (of {' '.join(SCHEMES)}).",
            fix="Download it first.",
            code="D28",
        )
    place = re.split(r"[?#]", title.partition("://")[2].removeprefix("***@"))[0]
    if is_image(place):
        raise DataError(
            f"{title} is a picture on the web; pictures are read from files.",
            fix="Download it first.",
            code="D28",
        )
    return Stream(text, title, _recording(re.sub(r"[^\w.]+", "-", place).strip("-.")))


def _recording(name: str) -> Path:
    return Path(f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}.mp4")


def open_capture(target: int | str) -> cv2.VideoCapture:
    """Open a video, a camera or a stream; the caller asks ``isOpened()``.

    OpenCV and FFmpeg are kept from writing to stderr: they repeat addresses with their passwords.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's number for silence
    logging: Any = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(target)
    finally:
        logging.setLogLevel(before)


def frame_rate(capture: cv2.VideoCapture) -> float:
    """Return the frames per second of a capture; 25 where it does not tell them."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= MOST_FPS else 25.0


def is_live(capture: cv2.VideoCapture) -> bool:
    """Whether a capture has no end: it does not know its number of frames."""
    return not capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0


def captured_frames(capture: cv2.VideoCapture) -> Generator[CapturedFrame, None, None]:
    """Yield all frames of a capture, then release it."""
    try:
        number = 0
        while (read := capture.read())[0]:
            yield CapturedFrame(number, read[1])
            number += 1
    finally:
        capture.release()


def newest_frames(capture: cv2.VideoCapture) -> Iterator[CapturedFrame]:
    """Yield the newest frame of a live stream whenever the consumer is ready, then release it.

    Frames that arrive while the consumer is busy are skipped, so that none is old and nothing piles
    up; their numbers are missing.
    """
    newest: list[CapturedFrame] = []  # at most one
    failed: list[Exception] = []
    changed, over = threading.Condition(), threading.Event()

    def read() -> None:
        try:
            with closing(captured_frames(capture)) as frames:  # only this thread touches it
                for frame in frames:
                    with changed:
                        newest[:] = [frame]
                        changed.notify()
                    if over.is_set():
                        break
        except Exception as error:  # raised where the frames are asked for
            failed.append(error)
        finally:
            over.set()
            with changed:
                changed.notify()

    reader = threading.Thread(target=read, daemon=True)  # it may wait for a host that is gone
    reader.start()
    try:
        while True:
            with changed:
                while not newest and not over.is_set():
                    changed.wait(1)  # with a limit, so that Ctrl-C works on every system
                if not newest:
                    break
                frame = newest.pop()
            yield frame
        if failed:
            raise failed[0]
    finally:
        over.set()
        reader.join(WAIT)


def why_closed(stream: Stream) -> tuple[str, str]:
    """Return why a stream could not be opened, and what to do."""
    if isinstance(stream.target, int):
        devices = sorted(map(str, Path("/dev").glob("video*")))
        device = f"/dev/video{stream.target}"
        if device in devices and not os.access(device, os.R_OK | os.W_OK):
            return f"{device} may not be read", "Add yourself to its group:  ls -l /dev/video*"
        found = " ".join(devices) or "none"
        return "there is no such camera, or another program uses it", f"Cameras here: {found}"
    try:
        parts = urlsplit(stream.target)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme.lower())
    except ValueError as error:  # a port that is no number, often due to a password with / or #
        reason = "its port is not a number" if "port" in str(error).lower() else "it is malformed"
        return reason, "Write %2F for / and %40 for @ in a password."
    try:
        if host and port and parts.scheme.lower() in PORTS:
            socket.create_connection((host, port), WAIT).close()
    except OSError as error:
        reason = f"{host}:{port} cannot be reached ({error.strerror or error})"
        return reason, "Is it switched on, and in the same network?"
    return (
        "it sends no video that OpenCV can read",
        "Check the path, user name and password. A page with a video is no stream.",
    )
