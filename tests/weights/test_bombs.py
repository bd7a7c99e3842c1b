"""Small files that describe much: refused before it is made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.weights.checkpoints import WEIGHT, read
from tests.weights.foreign import Raw, model, new, storage, tensor
from tests.weights.publishing import publish
from tutelage.errors import WeightsError
from tutelage.models import build, load
from tutelage.models.summary import summarise


def _doubled_lists() -> Any:
    """Each list holds the one before it twice: 2^60 in all."""
    return {"model": model(tensor(), hyp={"a": Raw(b"]q\x00" + b"0](h\x00h\x00eq\x00" * 60)})}


def _endless_list(field: str) -> Any:
    """A list that holds itself."""
    return {"model": model(tensor(), **{field: {"nc": 1, "a": Raw(b"]q\x05h\x05a")}})}


def _doubled_modules() -> Any:
    """Each module holds the one before it twice."""
    leaf = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    node = {**leaf, "_modules": {"a": Raw(b"h\x01"), "b": Raw(b"h\x01")}}
    chain = new("models.x", "Y", leaf).code + (b"q\x010" + new("models.x", "Y", node).code) * 60
    return {"model": model(tensor(), _modules={"a": Raw(chain)})}


def _one_storage_many_times() -> Any:
    """300 tensors over the same 60 kB."""
    whole = tensor((15_000,), (1,), of=storage(numel=15_000))
    return {"model": model(tensor(), _parameters={f"w{i}": whole for i in range(300)})}


def _deep_tuple() -> Any:
    return {"model": model(tensor(), yaml={"nc": 1, "deep": Raw(b")" + b"\x85" * 200_000)})}


@pytest.mark.parametrize(
    ("bomb", "match"),
    [
        (_doubled_lists(), "unreasonably large"),
        (_endless_list("hyp"), "nested without end"),
        (_endless_list("yaml"), "nested without end"),
        (_doubled_modules(), "nested without end"),
        (_one_storage_many_times(), "more elements than the file"),
        (_deep_tuple(), "nested without end"),
    ],
    ids=["lists", "loop in hyp", "loop in yaml", "modules", "storage", "tuple"],
)
def test_small_files_that_describe_much(tmp_path: Path, bomb: Any, match: str) -> None:
    """Each would need more time or memory than there is, were it followed to the end."""
    start = time.monotonic()
    size = 60_000 if "more elements" in match else len(WEIGHT)
    with pytest.raises(WeightsError, match=match):
        read(bomb, tmp_path, {"data/0": bytes(size)})
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"backbone": {"a": 1}, "head": 5}, "its yaml has 0 rows"),
        ({"backbone": 5}, "its yaml has"),
        ({"anchors": 10**9}, ""),  # would be a list of that length
        ({"depth_multiple": 1e9}, "depth_multiple must be a positive number up to 100"),
        ({"channel_multiple": 10**12}, "cannot be used"),
        ({"activation": "__import__('os').system('x')"}, "is not an activation"),
    ],
)
def test_graphs_that_ask_for_too_much(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    detector = build("yolov7-tiny@0.125", ["a", "b"])
    detector.arch = {**detector.arch, **change}
    path = publish(detector, tmp_path / "a.pt")
    assert summarise(path).tensors == 344
    if match:
        with pytest.raises(WeightsError, match=match):
            load(path)
    else:
        assert load(path).names == ("a", "b")
