"""A teacher of which only the store is left."""

from __future__ import annotations

import json
from types import SimpleNamespace

from tutelage.structures import Tap
from tutelage.teachers.recorded import FILE, describe_teacher, load_recorded
from tutelage.teachers.response_records import Grid, ResponseFormat


def test_it_is_read_as_it_was_described(tmp_path) -> None:
    teacher = SimpleNamespace(
        title="big",
        names=("cat", "dog"),
        taps=(Tap("57", 16, 8),),
        stride=32,
        record={"source": "big.pt", "content": "0a1b", "scores": {"AP": 0.5}, "images": 7},
    )
    form = ResponseFormat(2, objectness=True, grids=(Grid(8, 3), Grid(16, 3)))
    (tmp_path / FILE).write_text(json.dumps(describe_teacher(teacher, form)))  # type: ignore[arg-type]
    read = load_recorded(tmp_path)
    assert (read.title, read.names, read.taps, read.stride) == (
        "big",
        ("cat", "dog"),
        (Tap("57", 16, 8),),
        32,
    )
    assert read.record == {"source": "big.pt", "content": "0a1b", "scores": {"AP": 0.5}}
    assert read.responses == form
