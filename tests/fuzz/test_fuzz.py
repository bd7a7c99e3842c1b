"""Some dozen hostile inputs of each kind, and what earlier ones have found."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.write_dataset import make_dataset, write_image, write_text, write_yaml
from tests.fuzz import seeds
from tests.fuzz.guided import PARSERS
from tests.fuzz.pictures import EPS, bomb
from tests.fuzz.targets import TARGETS, made
from tests.fuzz.watch import Watch
from tutelage.data import open_dataset
from tutelage.data.image import MOST_PIXELS, read_image, read_size
from tutelage.errors import ConfigError, DataError, UserError, WeightsError
from tutelage.models import build, load
from tutelage.run.checkpoint import FORMAT, load_checkpoint, load_optimizer

ROUNDS = {"resume": 12, "model": 50}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_each_target(name: str, tmp_path: Path) -> None:
    target = made(name, tmp_path / name)
    ends = Counter[str]()
    for number in range(ROUNDS.get(name, 40)):
        rng = random.Random(f"{name}/{number}")
        with Watch(tmp_path):
            ends[target.round(rng)] += 1
    assert len(ends) > 1, ends  # not all of them are refused at once


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=300)
    | st.text(max_size=200).map(lambda t: t.encode("utf-8", "ignore"))
)
def test_parsers_take_any_bytes(name: str, content: bytes) -> None:
    PARSERS[name](content)


def test_the_watch_sees_what_is_done(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    with Watch(tmp_path / "room"):
        (tmp_path / "room" / "x").touch()
    for deed in (
        lambda: subprocess.run([sys.executable, "--version"], check=True, capture_output=True),
        (tmp_path / "x").touch,
        (tmp_path / "new").mkdir,
        lambda: (tmp_path / "room" / "x").rename(tmp_path / "y"),
        lambda: (tmp_path / "link").symlink_to("/etc/passwd"),
    ):
        with pytest.raises(AssertionError, match="was not to be done"), Watch(tmp_path / "room"):
            deed()


def test_an_image_that_is_a_program_is_not_run(tmp_path: Path) -> None:
    """Pillow hands PostScript to another program."""
    path = tmp_path / "a.jpg"
    path.write_bytes(EPS)
    for read in (read_size, read_image):
        with Watch(tmp_path), pytest.raises(DataError, match="cannot identify image file"):
            read(path)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, kind: str) -> None:
    side = int(MOST_PIXELS**0.5) + 100
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(bomb(kind, side))
    for read in (read_size, read_image):
        with (
            Watch(tmp_path, mib=60),
            warnings.catch_warnings(action="ignore"),
            pytest.raises(DataError, match=r"178,956,970 pixels"),
        ):
            read(path)


def test_more_than_one_image_in_a_file(tmp_path: Path) -> None:
    """MPO, which Pillow reads as a kind of JPEG, and GIF: the first."""
    from PIL import Image

    image = Image.fromarray(np.full((48, 64, 3), 99, np.uint8))
    for kind in ("MPO", "GIF"):
        path = tmp_path / f"{kind}.jpg"
        image.save(path, kind, save_all=True, append_images=[image])
        assert read_size(path) == (64, 48)
        assert read_image(path).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "line", ["x" * 300 + ".jpg", "a\0b.jpg", "~nobody/a.jpg", "/dev/null/a.jpg"]
)
def test_a_list_with_names_that_no_file_can_have(tmp_path: Path, line: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "a.txt", "0 .5 .5 .5 .5")
    write_text(tmp_path / "list.txt", f"a.jpg\n{line}\n")
    path = write_yaml(tmp_path / "d.yaml", train="list.txt", names=["x"])
    index = open_dataset(path, "train")
    assert len(index) == 1
    assert next((one.code, one.count) for one in index.findings) == ("image-unusable", 1)


def test_aliases_that_unfold_to_thousands_of_millions(tmp_path: Path) -> None:
    path = write_text(tmp_path / "d.yaml", f"{seeds.BILLION}names: *i\ntrain: *i\n")
    with (
        Watch(tmp_path, seconds=10, mib=200),
        pytest.raises(DataError, match="unfolds to too much"),
    ):
        open_dataset(path, "train")
    with Watch(tmp_path, seconds=10, mib=200), pytest.raises(ConfigError, match="unfolds to too"):
        build(path, ["a"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: &a [*a]\ntrain: .", "nested too deeply"),
        ("train: .\nnames: [a]\nx: 2024-99-99", "not of the type"),
        ("train: .\nnames: [a]\nx: !!int a", "not of the type"),
        ("train: .\nnames: [a]\nx: !!python/object/apply:os.system [ls]", "could not determine"),
        ("train: .\ntrain: .\nnames: [a]", "'train' stands twice"),
        ("train: " + "x" * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_yamls_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = write_text(tmp_path / "d.yaml", text)
    with Watch(tmp_path), pytest.raises(DataError, match=said):
        open_dataset(path, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": 10**9}, "anchors must be lists .* or a count per level up to 100"),
        ({"head": [[-1, 1, ["Conv"], [64]]]}, "module must be a name"),
        ({"head": [[-1, 10**400, "Conv", [64]]]}, "number must be"),
    ],
)
def test_models_beyond_measure(change: dict[str, object], message: str) -> None:
    import yaml

    tree = yaml.safe_load(seeds.SMALL_MODEL)
    assert build(tree, ["a", "b"]).strides == (8, 16)
    with pytest.raises(ConfigError, match=message):
        build({**tree, **change}, ["a", "b"])


def test_classes_beyond_measure(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(seeds.SMALL_MODEL.replace("nc: 2", "nc: 1000000000"))
    assert "nc: 1000000000" in path.read_text()
    with Watch(tmp_path, mib=200), pytest.raises(ConfigError, match=r"nc must be .* up to 100,000"):
        load(path)
    path.write_text("train: a\nval: a\nnc: 1000000000\n")
    with Watch(tmp_path, mib=200), pytest.raises(DataError, match="has no 'names'"):
        open_dataset(str(path), "train")


def test_a_row_beyond_measure() -> None:
    import yaml

    tree = yaml.safe_load(seeds.SMALL_MODEL)
    tree["backbone"][1] = [-1, 1, "Conv", [100_000_000, 3, 2]]
    with Watch(Path(), mib=200), pytest.raises(ConfigError, match="parameters are more than"):
        build(tree, ["a", "b"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position", [0]), ("position", [-1, 0]), ("position", "00"), ("progress", {}),
        ("weights", None), ("balance", {"a": ["x"]}), ("config", 3), ("optimizer", []),
    ],
)  # fmt: skip
def test_a_state_that_no_run_has_written(tmp_path: Path, key: str, value: object) -> None:
    progress = {"best": 0.1, "best_epoch": 0, "best_scores": {}, "readings": [], "threads": 1}
    state = {
        "format": FORMAT, "task": {}, "ema": {}, "optimizer": {"state": {}, "param_groups": []},
        "scaler": None, "weights": {}, "balance": {}, "position": [1, 0], "progress": progress,
        "config": "",
    }  # fmt: skip
    torch.save(state, tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt").position == [1, 0]
    torch.save({**state, key: value}, tmp_path / "last.pt")
    with pytest.raises(WeightsError, match=rf"last.pt is damaged \({key}"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("Adam", {"exp_avg": None}, "exp_avg does not fit"),
        ("AdamW", {"step": torch.zeros(5)}, "step does not fit"),
        ("Adam", {"exp_avg_sq": ...}, "exp_avg_sq of a parameter is missing"),
        ("SGD", {"momentum_buffer": torch.zeros(5)}, "momentum_buffer does not fit"),
    ],
)
def test_moments_that_no_optimizer_has_written(name: str, change: dict, message: str) -> None:
    def fresh() -> torch.optim.Optimizer:
        options = {"lr": 0.1} | ({"momentum": 0.9} if name == "SGD" else {})
        return getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2, 3))], **options)

    optimizer = fresh()
    [parameter] = optimizer.param_groups[0]["params"]
    parameter.sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    load_optimizer(fresh(), state)
    entries = state["state"][0]
    entries.update(change)
    state["state"][0] = {key: value for key, value in entries.items() if value is not ...}
    for optimizer in (fresh(), AcceleratedOptimizer(fresh())):
        with pytest.raises(ValueError, match=message):
            load_optimizer(optimizer, state)


@pytest.mark.parametrize("lost", [{}, {"momentum_buffer": None}])
def test_momenta_that_are_missing_begin_anew(lost: dict) -> None:
    """As they begin in a run; SGD itself takes all or none."""

    def fresh() -> torch.optim.SGD:
        shapes = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
        return torch.optim.SGD(shapes, lr=0.1, momentum=0.9, nesterov=True, fused=True)

    def step(optimizer: torch.optim.SGD) -> list[torch.Tensor]:
        parameters = optimizer.param_groups[0]["params"]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()
        return [parameter.detach() for parameter in parameters]

    optimizer = fresh()
    step(optimizer)
    state = optimizer.state_dict()
    state["state"][1] = lost
    resumed = fresh()
    load_optimizer(resumed, state)
    assert step(resumed)[1].tolist() == step(fresh())[1].tolist()


def test_data_that_no_run_has_told(tmp_path: Path) -> None:
    sound = {"images": 1, "boxes": 2, "sha256": "a"}
    progress = {"best": 0.1, "best_epoch": 0, "best_scores": {}, "readings": [], "threads": 1}
    for data, fits in (
        ({"train": sound}, True), ({"train": {**sound, "boxes": "2"}}, False),
        ({"x": sound}, False),
    ):  # fmt: skip
        state = {
            "format": FORMAT, "task": {}, "ema": {}, "optimizer": {"state": {}, "param_groups": []},
            "scaler": None, "weights": {}, "balance": {}, "position": [1, 0],
            "progress": {**progress, "data": data}, "config": "",
        }  # fmt: skip
        torch.save(state, tmp_path / "last.pt")
        if fits:
            found = load_checkpoint(tmp_path / "last.pt").progress.model_dump()
            assert found["data"] == data
        else:
            with pytest.raises(WeightsError, match=r"last.pt is damaged \(progress.data"):
                load_checkpoint(tmp_path / "last.pt")


def test_no_message_steers_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tutelage.cli.app import run

    path = write_text(tmp_path / "d.yaml", 'train: "\\e[31m\\u202e"\nnames: ["\\e[2J"]\n')
    assert run(["check", str(path)]) == UserError.exit_code + 2
    printed = capsys.readouterr().err
    assert "?[31m" in printed
    assert "\x1b" not in printed
    make_dataset(tmp_path / "set", {"a": "0 .5 .5 .5 .5"})
    path = write_yaml(tmp_path / "set/e.yaml", train="images/train", names=["\x1b[2J"])
    assert run(["check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "?[2J" in printed
    assert "\x1b" not in printed


def test_opencv_is_not_asked_for_what_pillow_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height, the checksum is wrong now
    path.write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV was called"))
    with Watch(tmp_path, mib=60), pytest.raises(DataError, match="cannot identify image file"):
        read_image(path)


def test_a_path_that_is_half_a_letter(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"a": "0 .5 .5 .5 .5"})
    text = '{"path": "\\ud800", "train": "images/train", "names": ["x"]}'
    assert len(open_dataset(write_text(tmp_path / "e.yaml", text), "train")) == 1


def test_a_preset_that_is_a_list(tmp_path: Path) -> None:
    from tutelage.config import load_config

    path = write_text(tmp_path / "run.yaml", "preset: [v7-p5]\n")
    with pytest.raises(ConfigError, match="no preset"):
        load_config(config_file=path)
