"""``tutelage check``, and training on what it examines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.data.annotated import make_coco, make_voc
from tests.data.making import write_text
from tests.data.test_check import GOOD, make_sound
from tutelage.cli import check as command


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def test_a_sound_data_set(cli, tmp_path: Path) -> None:
    answer = cli("check", str(make_sound(tmp_path / "set")))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"{tmp_path}/set/data.yaml (YOLO): train 2 images 2 boxes · val 2 images 2 boxes",
        "2 classes: cat, dog",
        "",
        "0 errors, 0 warnings, 0 facts.",
    ]


def test_errors_come_first_and_decide_the_exit_code(cli, tmp_path: Path) -> None:
    data = make_sound(tmp_path / "set")
    write_text(tmp_path / "set/labels/train/a.txt", GOOD + GOOD + "0 90 90 9 9\n0 91 91 9 9\n\x1b")
    (tmp_path / "set/images/val/c.jpg").write_bytes(b"")
    answer = cli("check", str(data))
    assert (answer.code, answer.err) == (3, "")
    heads = [
        line.split(":")[0] for line in answer.out.splitlines() if line[:5] in ("error", "warni")
    ]
    assert heads == [
        "error label-malformed (train)",
        "error label-pixels (train)",
        "warning label-duplicate (train)",
        "warning image-unusable (val)",
        "warning class-empty (val)",
    ]
    assert (
        '\n    labels/train/a.txt:4 "0 91 91 9 9"\n  Mend or remove these lines; see all'
        in answer.out
    )
    assert "\x1b" not in answer.out
    assert answer.out.endswith("\n2 errors, 3 warnings, 0 facts.\n")
    assert cli("check", str(data), "--split", "val").code == 0


def test_json(cli, tmp_path: Path) -> None:
    data = make_sound(tmp_path / "set")
    write_text(tmp_path / "set/labels/train/a.txt", GOOD + GOOD)
    answer = json.loads(cli("check", str(data), "--json").out)
    assert answer["ok"] is True
    assert answer["splits"][0] == {
        "split": "train", "images": 2, "boxes": 2, "classes": {"cat": 1, "dog": 1}
    }  # fmt: skip
    assert [(one["split"], one["code"], one["count"]) for one in answer["findings"]] == [
        ("train", "label-duplicate", 1)
    ]
    assert set(answer["findings"][0]) == {
        "split", "code", "severity", "message", "examples", "count", "fix"
    }  # fmt: skip


def test_page_and_cleaned_copy(cli, tmp_path: Path) -> None:
    data = make_sound(tmp_path / "set")
    write_text(tmp_path / "set/labels/train/a.txt", GOOD + "0 90 90 9 9")
    answer = cli("check", str(data), "--html", "a.html", "--fix", "clean")
    assert answer.code == 3  # of the data as it is
    assert "wrote clean/data.yaml: 4 images, 4 boxes; 0 images left out" in answer.out
    assert Path("a.html").read_text().startswith("<!doctype html>")
    assert cli("check", "clean/data.yaml").code == 0
    answer = cli("check", str(data), "--fix", "clean")
    assert (answer.code, answer.err) == (
        2, "Error [C29]: clean is not an empty folder.\n  Name one that does not exist.\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.yaml"], "nowhere.yaml does not exist."),
        (["digit"], "Did you mean 'digits'?"),
    ],
)
def test_no_such_data(cli, argv: list[str], message: str) -> None:
    answer = cli("check", *argv)
    assert answer.code == 3
    assert message in answer.err


def test_progress_is_shown_on_a_terminal(monkeypatch, capsys) -> None:
    class Terminal(command.Console):
        is_terminal = True

    monkeypatch.setattr(command, "Console", Terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with command.progress_bar() as advance:
        advance("train", 3, 12)
        advance("train", 2, 12)
    assert "5/12" in capsys.readouterr().err


@pytest.mark.parametrize("make", [make_sound, make_coco, make_voc])
def test_each_format_trains(cli, tmp_path: Path, make) -> None:
    answer = cli(
        "train", "--data", str(make(tmp_path / "set")), "--cfg", "yolov7-tiny@0.125",
        "--img", "64", "--batch", "2", "--epochs", "1", "--device", "cpu", "--workers", "0",
        "--name", "run", "--set", "train.threads=1",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    assert "2 classes · 0 warnings" in answer.out
    scores = json.loads(Path("runs/run/scores.json").read_text())
    assert scores["per_class"].keys() == {"cat", "dog"}
