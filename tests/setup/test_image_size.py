"""A run that names no image size takes that of its models."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.weights.publishing import publish
from tutelage.cli.app import run
from tutelage.config import ResolvedConfig, load_config
from tutelage.models import build
from tutelage.setup.image_size import adopt_image_size
from tutelage.weights.store import save_best


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight files that know their size, 1 px and nothing, beside a broken one."""
    monkeypatch.chdir(tmp_path)
    made = build("yolov7-tiny@0.125", ["a"])
    header = {"arch": made.arch, "names": ["a"]}
    for name, size in {"s128": 128, "s96": 96, "s640": 640, "s1": 1, "none": None}.items():
        known = {} if size is None else {"image_size": size}
        save_best(f"{name}.safetensors", made.state_dict(), {**header, **known})
    publish(made, Path("s320.pt"), opt={"imgsz": 320})
    publish(made, Path("none.pt"))
    Path("broken.pt").write_bytes(b"PK\3\4 nothing")


def resolved(
    weights: str | None, teachers: list[str], size: tuple[int, str] | None = None
) -> ResolvedConfig:
    flags = {"model.weights": (weights, "flag --weights")} if weights else {}
    if teachers:
        given = teachers if len(teachers) > 1 else teachers[0]
        flags["distill.teacher"] = (given, "flag --teacher-weights")
    if size:
        flags["train.image_size"] = size
    return adopt_image_size(load_config(flags=flags))


@pytest.mark.parametrize(
    ("weights", "teachers", "size", "source"),
    [
        ("s128.safetensors", [], 128, "s128.safetensors"),
        ("s320.pt", [], 320, "s320.pt"),
        (None, ["s128.safetensors"], 128, "s128.safetensors"),
        ("s128.safetensors", ["s96.safetensors"], 128, "s128.safetensors"),
        ("none.pt", ["s96.safetensors"], 96, "s96.safetensors"),
        (None, ["none.safetensors", "s96.safetensors", "s128.safetensors"], 96, "s96.safetensors"),
        ("broken.pt", ["torchvision:x", "s96.safetensors"], 96, "s96.safetensors"),
        ("s640.safetensors", ["s96.safetensors"], 640, None),
        ("none.safetensors", ["none.pt"], 640, None),
        ("broken.pt", ["missing.pt"], 640, None),
        ("s1.safetensors", [], 640, None),
        (None, [], 640, None),
    ],
)
def test_student_first_then_the_teachers(models, weights, teachers, size, source) -> None:
    found = resolved(weights, teachers)
    assert found.config.train.image_size == size
    assert found.origins.get("train.image_size") == (f"of {source}" if source else "default")
    told = [text for text in found.notices if "px" in text]
    expected = f"Images of {size} px, as {source} was trained; another size:  --img-size"
    assert told == [expected] * (source is not None)


@pytest.mark.parametrize("origin", ["flag --img-size", "--set", "run.yaml:3"])
def test_a_size_that_was_chosen_stays(models, origin) -> None:
    found = resolved("s128.safetensors", ["s96.safetensors"], (640, origin))
    assert found.config.train.image_size == 640
    assert found.origins["train.image_size"] == origin


@pytest.mark.parametrize("command", ["train", "doctor"])
def test_commands(models, monkeypatch, capsys, command) -> None:
    asked = []

    def remember(config, origins=None, **_):
        asked.append((config.train.image_size, origins["train.image_size"]))
        yield from ()

    monkeypatch.setattr("tutelage.api.train.run_training", remember)
    monkeypatch.setattr("tutelage.api.doctor.examine", remember)
    given = [command, "--data", "d.yaml", "--teacher-weights", "s96.safetensors"]
    assert run(given) == 0
    assert ("Images of 96 px" in capsys.readouterr().out) == (command == "doctor")  # a run itself
    assert run([*given, "--img-size", "640"]) == 0
    assert asked == [(96, "of s96.safetensors"), (640, "flag --img-size")]
