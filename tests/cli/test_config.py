from __future__ import annotations

import json

from tutelage.config import load_config
from tutelage.config.describe import leaves


def test_resolved_settings_with_origins(cli, tmp_path) -> None:
    (tmp_path / "run.yaml").write_text("data: d.yaml\n")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.02\nmixup: 0.3\niou_t: 0.2\n")
    answer = cli(
        "config", "run.yaml", "--hyp", "hyp.yaml", "--set", "train.epochs=3", "--cfg", "yolov5m"
    )
    assert answer.code == 0
    lines = [line.split("  #") for line in answer.out.splitlines()]
    told = {parts[0].strip(): parts[1].strip() for parts in lines if len(parts) == 2}
    assert told["data: d.yaml"] == "run.yaml:1"
    assert told["lr: 0.02"] == "hyp.yaml:1, lr0"
    assert told["epochs: 3"] == "--set"
    assert told["arch: yolov5m"] == "flag --cfg"
    assert told["preset: v5-med"] == "default for yolov5m"
    assert told["schedule: linear"] == "preset v5-med"
    assert answer.out.startswith("# hyp.yaml: without effect here: iou_t")


def test_the_output_is_a_run_file(cli, tmp_path) -> None:
    text = cli("config", "--set", "optim.lr=0.5", "--preset", "v7-p5").out
    (tmp_path / "run.yaml").write_text(text)
    loaded = load_config(config_file="run.yaml").config
    assert loaded == load_config(sets=["optim.lr=0.5"], flags={"preset": ("v7-p5", "")}).config
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text(text)
    assert "lr: 0.5" in cli("config", "a").out  # a run folder


def test_all_settings(cli) -> None:
    text = cli("config", "--all").out
    assert "weight: auto makes the KD gradients" in text
    rows = [line.partition("#")[0].strip().partition(":")[0] for line in text.splitlines()]
    assert {key.rpartition(".")[2] for key in leaves()} <= set(rows)
    assert all(len(line) < 400 for line in text.splitlines())


def test_json(cli) -> None:
    rows = json.loads(cli("config", "--json", "--set", "distill.methods.0.alpha=1").out)
    assert rows["train.epochs"] == {"value": 100, "origin": "default"}
    assert rows["distill.methods"]["value"] == [{"name": "auto", "weight": "auto", "alpha": 1}]


def test_faults(cli) -> None:
    answer = cli("config", "none.yaml")
    assert (answer.code, answer.err) == (2, "Error [C24]: none.yaml does not exist (run file)\n")
