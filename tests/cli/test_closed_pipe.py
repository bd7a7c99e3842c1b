"""``tutelage … | head``: what leaves files goes on, what only prints ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import pytest

from tests.cli.conftest import Engine
from tests.deploy.conftest import detector, run  # noqa: F401  (fixtures)
from tutelage.cli.app import run as command
from tutelage.cli.closed_pipe import UntilClosed
from tutelage.run.events import Notice


@contextmanager
def closed_stdout() -> Iterator[TextIO]:
    """Let stdout be a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    before, sys.stdout = sys.stdout, stream
    try:
        yield stream
    finally:
        sys.stdout = before
        with suppress(BrokenPipeError):
            stream.close()


def test_the_stream_and_its_descriptor_go_on_in_silence() -> None:
    with closed_stdout() as pipe:
        stream = UntilClosed(pipe)
        assert stream.write("x" * 100_000) == 100_000
        stream.write("y\n")
        stream.flush()
        print("z", file=stream, flush=True)
        subprocess.run(["echo", "a"], stdout=stream.fileno(), check=True)
        assert (stream.isatty(), stream.encoding) == (False, pipe.encoding)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_run_goes_on_to_its_end(engine: Engine, script, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    played = []

    engine.script = [*script, Notice("info", "long " * 20_000)]
    inner = engine.run_training

    def watched(config, **call):
        for event in inner(config, **call):
            yield event
            played.append(event)

    monkeypatch.setattr("tutelage.api.train.run_training", watched)
    with closed_stdout():
        assert command(["train", "--data", "d.yaml", "--cfg", "yolov7-tiny", *flags]) == 0
    assert played == engine.script


@pytest.mark.parametrize("saving", [True, False])
def test_predicting_goes_on_if_it_saves(run, monkeypatch, saving) -> None:  # noqa: F811
    monkeypatch.chdir(run.parent)
    from tutelage.deploy import predict

    read, frames = [], predict.read_frames

    def counted(source, **options):
        for frame in frames(source, **options):
            read.append(frame.name.name)
            yield frame

    monkeypatch.setattr(predict, "read_frames", counted)
    options = ["--batch-size", "1", "--device", "cpu", *(["--save", "out"] if saving else [])]
    with closed_stdout():
        assert command(["predict", "run", "d/images/val", *options]) == 0
    if saving:
        assert sorted(each.name for each in (run.parent / "out").iterdir()) == read
        assert len(read) == 3
    else:
        assert len(read) < 3
