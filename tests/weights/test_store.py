"""Our own files: what goes in comes out, atomically, and nothing else is accepted."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from tutelage.errors import WeightsError
from tutelage.weights import identity, load_best, load_last, save_best, save_last, store


def state() -> dict[str, torch.Tensor]:
    pool = torch.arange(24.0)
    return {
        "weight": torch.rand(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "half": torch.rand(3).half(),
        "view": pool[4:10].view(2, 3).t(),
        "shared": pool[4:10],
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "flag": torch.tensor([True, False]),
    }


META = {
    "format": "tutelage",
    "names": ["a", "b"],
    "arch": {"nc": 2, "head": [[-1, 1, "X", [None]]]},
    "size": 640,
    "note": "ü",
}


def test_best_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    original = state()
    save_best(path, original, META)
    found, meta = load_best(path)
    assert meta == META
    assert store.load_header(path) == META
    assert set(found) == set(original)
    for key, value in original.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["arch"]) == META["arch"]  # readable by anybody


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    tensors = state()
    meta = {**META, **{f"entry {number}": number for number in range(20)}}
    files = []
    for number in range(6):
        order = list(meta) if number % 2 else list(reversed(meta))
        keys = list(tensors) if number % 3 else list(reversed(tensors))
        path = tmp_path / f"{number}.safetensors"
        save_best(path, {key: tensors[key] for key in keys}, {key: meta[key] for key in order})
        files.append(path.read_bytes())
    assert len(set(files)) == 1
    header = json.loads(files[0][8 : 8 + int.from_bytes(files[0][:8], "little")])
    assert list(header["__metadata__"]) == sorted(meta)
    save_best(tmp_path / "none.safetensors", tensors, {})
    assert load_best(tmp_path / "none.safetensors")[1] == {}


def test_best_takes_parameters_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model = nn.BatchNorm2d(3)
    save_best(tmp_path / "a.safetensors", dict(model.named_parameters()), {})
    found, _ = load_best(tmp_path / "a.safetensors")
    assert torch.equal(found["weight"], torch.ones(3))
    assert not found["weight"].requires_grad
    assert model.weight.requires_grad


def test_undefined_numbers_become_null(tmp_path: Path) -> None:
    save_best(
        tmp_path / "a.safetensors",
        {},
        {"scores": {"AP": 0.5, "APl": float("nan")}, "x": [float("inf")]},
    )
    assert load_best(tmp_path / "a.safetensors")[1] == {
        "scores": {"AP": 0.5, "APl": None},
        "x": [None],
    }
    with pytest.raises(TypeError):
        save_best(tmp_path / "a.safetensors", {}, {"x": object()})


def test_headers_of_other_programs_stay_text(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(
        {"x": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"format": "pt", "n": "3"}
    )
    assert load_best(tmp_path / "a.safetensors")[1] == {"format": "pt", "n": 3}
    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    assert load_best(tmp_path / "b.safetensors")[1] == {}


def test_last_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    content = {
        "model": OrderedDict(state()),
        "optimizer": optimizer.state_dict(),
        "position": [3, 17],
        "best": 0.25,
        "best_epoch": None,
        "pair": (1, "x"),
        "config": "epochs: 3\n",
        "done": False,
        5: b"raw",
        "parameter": nn.Parameter(torch.ones(1)),
    }
    save_last(path, content)
    found = load_last(path)
    assert list(found) == list(content)
    for key in ("position", "best", "best_epoch", "pair", "config", "done", 5):
        assert found[key] == content[key]
    assert all(
        torch.equal(found["model"][k], v) for k, v in state().items() if k not in ("weight", "half")
    )
    assert torch.equal(found["optimizer"]["state"][0]["momentum_buffer"], torch.ones(2))
    assert type(found["parameter"]) is torch.Tensor
    assert torch.load(path, weights_only=True)["best"] == 0.25


def test_last_stores_a_view_without_the_rest(tmp_path: Path) -> None:
    save_last(tmp_path / "a.pt", {"x": torch.zeros(1_000_000)[:3]})
    assert (tmp_path / "a.pt").stat().st_size < 10_000


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"a": {"b": [1, object()]}}, r"a\.b\[1\] is a object"),
        ({"a": np.float64(1)}, "a is a float64"),
        ({"a": {1, 2}}, "a is a set"),
        ({"a": Path("x")}, "a is a PosixPath"),
        ({"a": nn.Conv2d(1, 1, 1)}, "a is a Conv2d"),
        ({"a": {(1, 2): 3}}, "a has a key of type tuple"),
        ({1.5: 3}, "has a key of type float"),
    ],
)
def test_last_refuses_what_it_could_not_read(
    tmp_path: Path, content: dict[Any, Any], match: str
) -> None:
    path = tmp_path / "last.pt"
    save_last(path, {"old": 1})
    with pytest.raises(TypeError, match=match):
        save_last(path, content)
    assert load_last(path) == {"old": 1}


class Evil:
    """Makes a file when unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def test_last_runs_nothing(tmp_path: Path) -> None:
    torch.save({"x": Evil(tmp_path / "proof")}, tmp_path / "last.pt")
    with pytest.raises(WeightsError, match=r"Refused to read .* Nothing was executed"):
        load_last(tmp_path / "last.pt")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("load", [load_best, load_last, store.load_header, identity])
def test_missing_file(tmp_path: Path, load: Any) -> None:
    (tmp_path / "last.pt").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"does not exist.*Did you mean 'last.pt'"):
        load(tmp_path / "lost.pt")


def test_damaged_files(tmp_path: Path) -> None:
    best, last = tmp_path / "best.safetensors", tmp_path / "last.pt"
    save_best(best, state(), META)
    save_last(last, {"x": torch.rand(1000)})
    for path, load in ((best, load_best), (last, load_last)):
        whole = path.read_bytes()
        for length in (0, 3, 12, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(WeightsError):
                load(path)
        path.write_bytes(whole)
        load(path)
    with pytest.raises(WeightsError, match=r"torch\.save file"):
        load_best(last)
    with pytest.raises(WeightsError, match="no training state"):
        load_last(best)
    torch.save([1, 2], last)
    with pytest.raises(WeightsError, match=r"no training state \(a list\)"):
        load_last(last)
    for content in (pickle.dumps({"a": 1}), b"junk"):
        last.write_bytes(content)
        with pytest.raises(WeightsError, match=r"Start a new run from its weights: .*/best\.s"):
            load_last(last)


def test_identity(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 1000)
    expected = hashlib.sha256(b"abc" * 1000).hexdigest()
    assert identity(path) == {"path": str(path), "bytes": 3000, "sha256": expected}


def test_a_state_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    """torch.load unpacks compressed entries; ours has none."""
    path, bomb = tmp_path / "last.pt", tmp_path / "bomb.pt"
    save_last(path, {"a": torch.zeros(8_000_000)})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert bomb.stat().st_size < 100_000
    assert len(torch.load(bomb, weights_only=True)["a"]) == 8_000_000
    with pytest.raises(WeightsError, match="damaged or truncated"):
        load_last(bomb)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(file.namelist()[-1], b"x")
    with pytest.raises(WeightsError, match="damaged or truncated"):
        load_last(path)


class FullDisk(io.BytesIO):
    """A file on a disk with room for so many bytes."""

    room = 0

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_full_disk_is_told_as_such_wherever_the_file_ends(monkeypatch):
    content = {"a": torch.rand(3000), "b": [torch.rand(50) for _ in range(20)]}
    whole = io.BytesIO()
    torch.save(content, whole)
    file = FullDisk()
    monkeypatch.setattr(store, "atomic_write", lambda _, write: write(file))
    for file.room in range(0, len(whole.getvalue()), 499):
        file.seek(0)
        with pytest.raises(OSError, match="No space left") as error:
            save_last("last.pt", content)
        assert error.value.errno == errno.ENOSPC
