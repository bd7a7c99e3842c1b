"""Trackio: a database on this machine, or a Space or server that the user's environment names."""

from __future__ import annotations

import io
import secrets
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tutelage.trackers.tracker import PROJECT, Ending, TrackedRun

trackio: Any = import_module("trackio")


class Trackio:
    """A run of Trackio."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: TrackedRun, stored: Mapping[str, str]) -> Mapping[str, str]:
        """Begin a run, or go on with it. Trackio finds runs by name: this one has a name alone."""
        identity = stored or {"name": f"{run.name}-{secrets.token_hex(2)}"}
        with _silent(), _nobody_asked():
            self._run = trackio.init(
                PROJECT,
                name=identity["name"],
                group=run.group or None,
                config=dict(run.settings),
                resume="allow" if stored else "never",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        return identity

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values."""
        self._run.log(dict(values), step=step)

    def log_images(self, images: Mapping[str, bytes], epoch: int) -> None:
        """Log images; Trackio copies the files."""
        with tempfile.TemporaryDirectory() as folder:
            pictures: dict[str, Any] = {}
            for number, (name, jpeg) in enumerate(images.items()):
                path = Path(folder) / f"{number}.jpg"
                path.write_bytes(jpeg)
                pictures[name] = trackio.Image(path)
            self._run.log(pictures, step=epoch)

    def log_file(self, path: Path) -> None:
        """Log an artifact."""
        self._run.log_artifact(str(path), name=f"{self._run.name}-{path.stem}", type=path.stem)

    def finish(self, ending: Ending) -> None:  # noqa: ARG002  (its runs have no state)
        """Write what is left."""
        with _silent():
            self._run.finish()


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress what this thread prints: Trackio prints where a run may write JSON."""
    stream = sys.stdout
    sys.stdout = _Unheard(stream)
    try:
        yield
    finally:
        sys.stdout = stream


class _Unheard(io.TextIOBase):
    """A stream without the texts of the thread that has made it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def _nobody_asked() -> Iterator[None]:
    """Keep Trackio from sending the user's token to huggingface.co to learn a name.

    It does so for runs on this machine, too, and stores the name with them.
    """
    before = trackio.Run._get_username
    trackio.Run._get_username = lambda _: None
    try:
        yield
    finally:
        trackio.Run._get_username = before
