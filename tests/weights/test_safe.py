"""Foreign checkpoints: what is read, and what is told of files that are none."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.weights.checkpoints import GOLDEN, SHARED, assert_same_state, needs_shared, trained
from tests.weights.foreign import YAML, Conv, Detect, Model, Writer, archive, save
from tutelage.errors import WeightsError
from tutelage.weights import read_foreign
from tutelage.weights.file_type import existing_file


def test_state_equals_state_dict_of_the_model(tmp_path: Path) -> None:
    model = trained()
    expected = copy.deepcopy(model).half().state_dict()
    found = read_foreign(save({"model": model.half(), "ema": None, "epoch": -1}, tmp_path / "a.pt"))
    assert_same_state(found.state, expected)
    assert "model.1.scratch" not in found.state  # not persistent
    assert found.yaml == YAML
    assert (found.names, found.strides, found.nc) == (("cat", "dog"), (8, 16), 2)
    assert (found.source, found.head, found.note) == ("model", "Detect", "stripped")
    assert found.hyp == {"lr0": 0.01, "nested": {"a": [1, 2.5, None, True]}}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_every_floating_type_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    model = trained().to(dtype)
    found = read_foreign(save({"model": model}, tmp_path / "a.pt"))
    assert_same_state(found.state, model.state_dict())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    from tests.weights.foreign import published_modules

    model = trained()
    with published_modules():
        torch.save({"model": model}, tmp_path / "a.pt", pickle_protocol=protocol)
    assert_same_state(read_foreign(tmp_path / "a.pt").state, model.state_dict())


def test_views_and_odd_layouts(tmp_path: Path) -> None:
    model = trained().to(memory_format=torch.channels_last)
    pool = torch.arange(100.0)
    model.model[0].bn.weight = nn.Parameter(pool[20:28])
    model.model[0].bn.bias = nn.Parameter(pool[::12][:8])
    found = read_foreign(save({"model": model}, tmp_path / "a.pt"))
    assert_same_state(found.state, model.state_dict())


def test_ema_is_preferred_and_none_is_not(tmp_path: Path) -> None:
    model, ema = trained(), trained()
    ema.model[0].bn.weight.data.fill_(0.25)
    both = {"model": model, "ema": ema, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    found = read_foreign(save(both, tmp_path / "a.pt"))
    assert found.source == "ema"
    assert found.state["model.0.bn.weight"].eq(0.25).all()
    assert found.note == "training checkpoint of epoch 3"
    alone = read_foreign(save({**both, "ema": None}, tmp_path / "b.pt"))
    assert alone.source == "model"
    assert_same_state(alone.state, model.state_dict())


def test_a_bare_model_and_a_wrapped_one(tmp_path: Path) -> None:
    model = trained()
    bare = read_foreign(save(model, tmp_path / "a.pt"))
    assert_same_state(bare.state, model.state_dict())
    assert bare.note == "a bare model"
    wrapped = read_foreign(save({"model": nn.DataParallel(model)}, tmp_path / "b.pt"))
    assert_same_state(wrapped.state, model.state_dict())
    assert wrapped.names == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({0: "a", 1: "b"}, ("a", "b")),
        ({1: "b", 0: "a"}, ("a", "b")),
        ({"0": "a", "1": "b"}, ("a", "b")),
        (("a", "b"), ("a", "b")),
        (["a"], ("0", "1")),
        ({0: "a", 7: "b"}, ("0", "1")),
        (7, ("0", "1")),
    ],
)
def test_names_of_all_releases(tmp_path: Path, names: object, expected: tuple[str, ...]) -> None:
    found = read_foreign(save({"model": trained(names=names)}, tmp_path / "a.pt"))
    assert found.names == expected


def test_numpy_in_the_metadata_is_read_as_numbers(tmp_path: Path) -> None:
    model = trained()
    model.hyp = {
        "a": np.float64(0.5),
        "b": np.arange(6, dtype=np.int32).reshape(2, 3),
        "c": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "d": np.bool_(True),
        "e": np.arange(3, dtype=">f4"),
        "path": Path("runs/exp"),
        "device": torch.device("cuda", 1),
        "size": torch.Size([2, 3]),
        "tensor": torch.arange(3),
        "layer": nn.SiLU(),  # has no plain form
    }
    found = read_foreign(
        save({"model": model, "best_fitness": np.array([0.5])}, tmp_path / "a.pt")
    ).hyp
    assert found == {
        "a": 0.5,
        "b": [[0, 1, 2], [3, 4, 5]],
        "c": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "d": True,
        "e": [0.0, 1.0, 2.0],
        "path": "runs/exp",
        "device": "cuda:1",
        "size": [2, 3],
        "tensor": [0, 1, 2],
    }


@pytest.mark.parametrize("file", ["stripped", "training"])
def test_published_yolov7(file: str) -> None:
    found = read_foreign(GOLDEN / f"yolov7-tiny-w025-{file}.pt")
    assert len(found.state) == 344
    assert (found.names, found.strides, found.head) == (
        ("WBC", "RBC", "Platelets"),
        (8, 16, 32),
        "IDetect",
    )
    assert found.source == {"stripped": "model", "training": "ema"}[file]
    assert found.yaml["head"][-1][2] == "IDetect"
    assert found.state["model.77.anchor_grid"].flatten()[:4].tolist() == [10, 13, 16, 30]
    parameters = [k for k, v in found.state.items() if v.is_floating_point() and "anchor" not in k]
    assert sum(found.state[k].numel() for k in parameters if "running" not in k) == 383_544


def test_stripping_kept_the_ema() -> None:
    stripped = read_foreign(GOLDEN / "yolov7-tiny-w025-stripped.pt")
    training = read_foreign(GOLDEN / "yolov7-tiny-w025-training.pt")
    assert_same_state(stripped.state, training.state)
    assert stripped.yaml == training.yaml


@needs_shared
def test_published_yolov7_with_repconv() -> None:
    found = read_foreign(SHARED / "yolov7-w0125-stripped.pt")
    assert len(found.state) == 566
    assert found.state["model.102.rbr_dense.0.weight"].shape[2:] == (3, 3)


@needs_shared
def test_a_yolov5_of_2022() -> None:
    found = read_foreign(SHARED / "real-yolov5n-ppe.pt")
    assert len(found.state) == 349
    assert (found.names, found.strides, found.head) == (("helmet", "vest"), (8, 16, 32), "Detect")
    assert "model.24.anchor_grid" not in found.state
    learned = [v for k, v in found.state.items() if v.is_floating_point() and "anchor" not in k]
    running = [v for k, v in found.state.items() if "running" in k]
    assert sum(v.numel() for v in learned) - sum(v.numel() for v in running) == 1_766_623


# --- files that are no checkpoint ---------------------------------------------------------


def refused(path: Path, *parts: str) -> str:
    """The error of reading a file; it names the file and holds the parts."""
    with pytest.raises(WeightsError) as caught:
        read_foreign(path)
    text = str(caught.value)
    assert str(path) in text
    for part in parts:
        assert part in text, text
    assert caught.value.exit_code == 4
    return text


def test_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "yolov7-tiny.pt").write_bytes(b"x")
    refused(tmp_path / "yolov7_tiny.pt", "does not exist", "Did you mean 'yolov7-tiny.pt'?")
    refused(tmp_path / "teacher.pt", "does not exist", "Beside it: yolov7-tiny.pt")
    refused(tmp_path / "nowhere" / "a.pt", "does not exist", "no folder")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("yolov7-tiny.pt", "https://github.com/WongKinYiu/yolov7/releases"),
        ("nowhere/yolov7_training.pt", "https://github.com/WongKinYiu/yolov7/releases"),
        ("yolov5s6.pt", "https://github.com/ultralytics/yolov5/releases"),
        ("YOLOv5s.pt", "https://github.com/ultralytics/yolov5/releases"),
        ("v9-s.pt", "https://github.com/MultimediaTechLab/YOLO/releases"),
        ("yolox_nano.pth", "https://github.com/Megvii-BaseDetection/YOLOX/releases"),
    ],
)
def test_a_missing_official_file_names_its_page(tmp_path: Path, name: str, page: str) -> None:
    refused(tmp_path / name, "does not exist", f"official weights: {page}")


def test_other_missing_files_name_no_page(tmp_path: Path) -> None:
    assert "http" not in refused(tmp_path / "best.pt", "does not exist")


@pytest.mark.parametrize("wrap", [str, Path])
@pytest.mark.parametrize("source", ["https://host/x/yolov7.pt", "wandb-artifact://me/run/model.pt"])
def test_nothing_is_downloaded(source: str, wrap: type) -> None:
    with pytest.raises(WeightsError) as caught:
        existing_file(wrap(source))
    assert caught.value.what == f"{source} is an address, not a file: nothing is downloaded."


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty"]),
        (
            b"\n <!DOCTYPE html><html>" + b" " * 38_000,
            ["it is an HTML page (38 KB)", "failed download"],
        ),
        (b"<html><body>404</body></html>", ["HTML page"]),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 75587165\n",
            ["Git LFS pointer", "git lfs pull"],
        ),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", ["it ends early", "Download it again"]),
        (pickle.dumps({"a": 1}, 2), ["bare pickle", "torch.save did not write it"]),
        (bytes(257) + b"ustar" + bytes(250), ["is a tar archive", "before 2017"]),
        (b"Not Found", ["is not a checkpoint", "it is text ('not found'…)"]),
        (bytes(range(7, 200)), ["unknown format"]),
        (
            b"PK\x03\x04" + bytes(400),
            ["truncated (zip directory missing, 404 bytes are here)", "Download it again"],
        ),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path = tmp_path / "yolov7.pt"
    path.write_bytes(content)
    refused(path, *parts)


def test_truncated_download(tmp_path: Path) -> None:
    whole = (GOLDEN / "yolov7-tiny-w025-stripped.pt").read_bytes()
    path = tmp_path / "yolov7.pt"
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "is truncated", "474 KB are here")


def test_flipped_byte_in_the_weights(tmp_path: Path) -> None:
    whole = bytearray(save({"model": trained()}, tmp_path / "a.pt").read_bytes())
    at = whole.index(trained().model[0].conv.weight.detach().numpy().tobytes()[:16])
    whole[at] ^= 0xFF
    path = tmp_path / "b.pt"
    path.write_bytes(whole)
    refused(path, "is not a readable checkpoint", "CRC")


def test_safetensors_and_torchscript(tmp_path: Path) -> None:
    from tutelage.weights import save_best

    save_best(tmp_path / "a.pt", {"x": torch.zeros(1)}, {})
    refused(tmp_path / "a.pt", ".safetensors")
    program = {"constants.pkl": b"\x80\x02).", "code/__torch__.py": b"def forward(self): ..."}
    refused(archive(Writer().value(()).done(), tmp_path / "b.pt", program), "TorchScript")


def test_objects_that_are_no_model(tmp_path: Path) -> None:
    refused(save({"a": 1, "b": torch.zeros(1)}, tmp_path / "a.pt"), "bare tensors", "found: b")
    refused(save({"state": 1}, tmp_path / "b.pt"), "no model", "state")
    state = {"format": "tutelage-last-1", "task": {}}
    refused(save(state, tmp_path / "last.pt"), "training state", "/best.safetensors")
    refused(save([1, 2], tmp_path / "c.pt"), "a list, not a model")
    refused(save(Conv(1, 1), tmp_path / "d.pt"), "a model without its yaml and with no head")
    refused(save(torch.zeros(2), tmp_path / "e.pt"), "not a model")


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    model = trained()
    model.model[0].bn.running_var[3] = float("inf")
    model.model[1].m[0].bias.data[0] = float("nan")
    refused(
        save({"model": model}, tmp_path / "a.pt"),
        "infinite values in model.0.bn.running_var and 1 more",
    )


def test_ultralytics_files_are_named_not_read(tmp_path: Path) -> None:
    homes = {Conv: "models.common", Detect: "models.yolo", Model: "ultralytics.nn.tasks"}
    path = save({"model": trained()}, tmp_path / "a.pt", homes)
    text = refused(path, "ultralytics.nn.tasks.Model", "anchor-free")
    assert not re.search("Refused to read", text)


def test_nothing_foreign_is_imported() -> None:
    import sys

    read_foreign(GOLDEN / "yolov7-tiny-w025-training.pt")
    assert not [name for name in sys.modules if name.split(".")[0] == "models"]
