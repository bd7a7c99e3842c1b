"""Headers of ``.safetensors`` files that were written to do harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.models.repeatable_weights import fill_normal
from tutelage.errors import WeightsError
from tutelage.evaluation.predictor import DEFAULT_SIZE, trained_size
from tutelage.models import build, load, read_checkpoint
from tutelage.models.summary import summarise
from tutelage.weights.store import load_header

DETECTOR = build("yolov7-tiny@0.125", ["a", "b"])
fill_normal(DETECTOR)
USUAL = {"arch": DETECTOR.arch, "names": ["a", "b"], "arch_name": DETECTOR.arch_name}


def write(path: Path, **raw: str) -> Path:
    """A sound file, but for the entries given, which are written as they are."""
    header = {key: json.dumps(value) for key, value in USUAL.items()} | raw
    state = {key: value.contiguous() for key, value in DETECTOR.state_dict().items()}
    save_file(state, str(path), metadata=header)
    return path


@pytest.mark.parametrize("deep", ["[" * 100_000, "[" * 100_000 + "]" * 100_000])
@pytest.mark.parametrize("key", ["arch", "note", "image_size", "names"])
def test_values_without_end(tmp_path: Path, key: str, deep: str) -> None:
    path = write(tmp_path / "a.safetensors", **{key: deep})
    assert summarise(path).architecture == "yolov7-tiny@0.125"
    assert load(path).strides == (8, 16, 32)


@pytest.mark.parametrize("arch", [{"backbone": 5}, {"nc": 1}, {"backbone": [[1]], "head": {}}])
def test_graphs_of_wrong_types(tmp_path: Path, arch: Any) -> None:
    path = write(tmp_path / "a.safetensors", arch=json.dumps(arch))
    assert summarise(path).tensors == 344
    with pytest.raises(WeightsError, match="cannot be used"):
        load(path)


def test_names_are_no_paths_and_steer_no_terminal(tmp_path: Path) -> None:
    """A run folder is named after the architecture."""
    evil = "../../etc/x\x1b[31m"
    notes = {"arch_name": json.dumps(evil), "note": json.dumps("\x1b[31mred\nline")}
    path = write(tmp_path / "a.safetensors", names=json.dumps(["\x1b[2J", "b"]), **notes)
    found = read_checkpoint(path)
    assert found.arch_name == "_.._etc_x__31m"
    assert found.note == "?[31mred\nline"
    assert load(path).names == ("?[2J", "b")
    assert summarise(path).kind == "?[31mred\nline"
    assert "\x1b" not in str(load_header(path))


@pytest.mark.parametrize("size", ["-64", "0", "true", "1000000000", "64.5", '"64"', "9" * 5_000])
def test_image_sizes_that_no_run_has(tmp_path: Path, size: str) -> None:
    assert trained_size(load(write(tmp_path / "a.safetensors", image_size=size))) == DEFAULT_SIZE
    assert trained_size(load(write(tmp_path / "a.safetensors", image_size="96"))) == 96


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors").rename(tmp_path / "a.pt")
    torch.save(DETECTOR.state_dict(), tmp_path / "b.safetensors")
    for name in ("a.pt", "b.safetensors"):
        assert load(tmp_path / name).arch_name == "yolov7-tiny@0.125"
        assert trained_size(load(tmp_path / name)) == DEFAULT_SIZE
