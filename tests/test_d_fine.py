"""A D-FINE of transformers does what YOLOv7 does: trained, taught by YOLOv7, resumed, exported."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import tutelage
from tests.data.write_dataset import NAMES
from tests.models.repeatable_weights import fill_normal
from tests.run.small_runs import interrupted, last, make_data, run, settings
from tutelage.config.presets import default_preset
from tutelage.config.schema import Config
from tutelage.errors import UserError
from tutelage.models import build
from tutelage.run.events import Finished
from tutelage.weights.store import load_best, save_best

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("scipy", reason="needs SciPy")

from tests.models.tiny_d_fine import write_folder


def sure_teacher(path: Path) -> str:
    """Write an untrained YOLOv7 that finds objects everywhere."""
    net = build("yolov7-tiny@0.125", NAMES)
    with torch.no_grad():
        fill_normal(net)
        for name, bias in net.head.named_parameters():
            if bias.ndim == 1 and name.startswith("m."):
                bias.view(3, -1)[:, 4:] += 1
    meta = {"arch": net.arch, "arch_name": net.arch_name, "names": NAMES, "image_size": 64}
    save_best(path, net.state_dict(), meta)
    return str(path)


def taught(tmp_path: Path, *methods: str, **changes: Any) -> Config:
    """Settings of a run whose teacher is a YOLOv7 graph; without methods, of a plain one."""
    distill: dict[str, Any] = {
        "teacher": sure_teacher(tmp_path / "teacher.safetensors"),
        "accept_teacher": True,
        "methods": [{"name": name, "weight": 0.1} for name in methods],
    }
    arch = write_folder(tmp_path / "tiny", decoder_layers=2)
    return settings(
        make_data(tmp_path / "data"),
        tmp_path / "runs",
        **{
            "model": {"arch": arch},
            "train": {"epochs": 2, "batch": 4, "patience": 0},
            "optim": {"name": "adamw", "lr": 0.001, "warmup_bias_lr": 0},
            **({"distill": distill} if methods else {}),
            **changes,
        },
    )


def test_yolov7_teaches_it_and_it_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Features of its encoder, and classes and boxes of matched queries."""
    methods = "fgd", "bckd", "logits", "box"
    config = taught(tmp_path, *methods)
    whole = last(run(config), Finished).folder
    for line in Path(whole, "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert {"vfl", "bbox", "giou", "fgl", "ddf"} < row.keys()
        terms = {name: value for name, value in row.items() if "/" in name}
        assert {name.partition("/")[0] for name in terms} == set(methods)
        assert all(math.isfinite(value) and value > 0 for value in terms.values())
    cut = interrupted(config)
    shutil.rmtree(tmp_path / "tiny")  # the run's own file says all
    resumed = last(run(config, resume=cut), Finished).folder
    states = [load_best(f"{folder}/best.safetensors")[0] for folder in (whole, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    arch = load_best(f"{resumed}/best.safetensors")[1]["arch"]
    assert arch["d_fine"]["backbone_config"]["model_type"] == "hgnet_v2"
    detector = tutelage.load(resumed)
    assert len(detector.decode(detector(torch.rand(1, 3, 64, 64)).raw, (64, 64)).xyxy[0]) == 20


def test_ld_says_why_it_cannot_teach_it(tmp_path: Path) -> None:
    words = "or distributions around boxes of its own, as D-FINE does"
    with pytest.raises(UserError, match=words) as error:
        run(taught(tmp_path, "ld"))
    assert error.value.code == "T29"


def test_it_starts_from_the_weights_beside_its_settings(tmp_path: Path) -> None:
    from tests.models.tiny_d_fine import network

    network(decoder_layers=2).save_pretrained(tmp_path / "trained")
    config = taught(tmp_path, model={"arch": f"hf:{tmp_path / 'trained'}"}, train={"batch": 4})
    folder = last(run(config), Finished).folder
    start = load_best(f"{folder}/best.safetensors")[1]["training"]["start"]
    assert start.startswith(f"hf:{tmp_path / 'trained'}: ")
    assert "head is new: 3 → " in start


def test_its_preset_is_found(tmp_path: Path) -> None:
    assert default_preset(f"hf:{tmp_path}", has_weights=False) == "d-fine"
    assert default_preset(None, has_weights=True, weights=f"hf:{tmp_path}") == "d-fine"
