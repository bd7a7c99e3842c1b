"""Files of torch before 1.6: five pickles and the storages behind them."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.weights.checkpoints import Touch, assert_same_state, trained
from tests.weights.foreign import Writer, global_, published_modules
from tutelage.errors import WeightsError
from tutelage.weights import read_foreign


def save(content: Any, path: Path) -> Path:
    with published_modules(), warnings.catch_warnings(action="ignore"):
        torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_a_legacy_file_is_read(tmp_path: Path) -> None:
    model = trained().half()
    model.hyp["noted"] = torch.arange(3)
    expected = copy.deepcopy(model).state_dict()
    found = read_foreign(save({"model": model, "epoch": 4, "optimizer": {}}, tmp_path / "a.pt"))
    assert_same_state(found.state, expected)
    assert (found.names, found.epoch, found.hyp["noted"]) == (("cat", "dog"), 4, [0, 1, 2])
    looked = read_foreign(tmp_path / "a.pt", values=False)
    assert {key: value.shape for key, value in looked.state.items()} == {
        key: value.shape for key, value in expected.items()
    }
    assert all(value.is_meta for value in looked.state.values())


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = save({"model": trained(), "x": Touch(open, str(proof), "w")}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"would call \w+\.open.*Nothing was executed"):
        read_foreign(path)
    assert not proof.exists()


def test_cut_and_bent(tmp_path: Path) -> None:
    whole = save({"model": trained()}, tmp_path / "a.pt").read_bytes()
    path = tmp_path / "b.pt"
    for length in (30, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"is not a readable checkpoint|bare pickle"):
            read_foreign(path)
    path.write_bytes(whole.replace(b"little_endian\x71", b"little_endiam\x71", 1))
    with pytest.raises(WeightsError, match="big-endian"):
        read_foreign(path)


def test_storages_that_do_not_agree(tmp_path: Path) -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    head = magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    path = tmp_path / "a.pt"

    def one(numel: int, key: str = "7") -> bytes:
        kind = global_("torch", "FloatStorage")
        parts = b"(" + Writer().value("storage").out.getvalue()[2:] + kind
        rest = b"".join(
            Writer().value(value).out.getvalue()[2:] for value in (key, "cpu", numel, None)
        )
        return parts + rest + b"tQ"

    def refused(content: bytes, keys: list[Any], storages: bytes, match: str) -> None:
        path.write_bytes(head + b"\x80\x02" + content + b"." + pickle.dumps(keys, 2) + storages)
        with pytest.raises(WeightsError, match=match):
            read_foreign(path)

    count = (2).to_bytes(8, "little")
    refused(one(2), ["7"], count + bytes(8), "holds a StorageEntry, not a model")
    refused(one(2), ["7"], count + bytes(7), "storages are missing at its end")
    refused(one(2), ["7"], (3).to_bytes(8, "little") + bytes(12), "storage 7 is damaged")
    refused(one(2), ["8"], count + bytes(8), "storage 8 is damaged")
    refused(one(2), [], b"", "storages are missing")
    refused(one(2), [7], b"", "list of storages is damaged")
    refused(one(1 << 47), ["7"], (1 << 47).to_bytes(8, "little"), "storages are missing at its end")
    refused(one(2) + b"0" + one(3), ["7"], b"", "described in two ways")
