"""``tutelage check``, and training on what it examines."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.data.annotation_files import make_coco, make_voc, voc_text
from tests.data.damaged_datasets import CASES, label
from tests.data.write_dataset import GOOD, NAMES, OTHER, make_sound, write_text, write_yaml
from tutelage.cli import check as command
from tutelage.display import tables


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
    left = "left out (left-out.txt): images 0, labels of others 1"
    assert f"wrote clean/data.yaml: 4 images, 4 boxes; {left}" in answer.out
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
    class Terminal(tables.Console):
        is_terminal = True

    monkeypatch.setattr(tables, "Console", Terminal)
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


def listed_twice(root: Path, image: Path) -> None:
    write_text(root / "list.txt", "images/train/a.jpg\nimages/train/a.jpg\nimages/train/b.jpg\n")
    write_yaml(root / "data.yaml", train="list.txt", val="images/val", names=NAMES)


def no_label(root: Path, image: Path) -> None:
    (root / "labels/train/a.txt").unlink()


def no_labels(root: Path, image: Path) -> None:
    shutil.rmtree(root / "labels/train")


def no_box(root: Path, image: Path) -> None:
    for stem in "ab":
        write_text(root / f"labels/train/{stem}.txt", "")


def no_split(root: Path, image: Path) -> None:
    write_yaml(root / "data.yaml", train="images/train", val="images/vol", names=NAMES)


POSE = "0 .5 .5 .2 .2 .45 .45 .55 .55"

MORE = [
    (listed_twice, "train", "image-repeated", "warning", "images/train/a.jpg"),
    (no_label, "train", "labels-missing", "warning", "labels/train/a.txt"),
    (no_labels, "train", "labels-missing", "error", "labels/train/a.txt"),
    (no_box, "train", "labels-empty", "error", "labels/train/a.txt"),
    (no_split, "val", "split-unusable", "error", ""),
    (label("0 50 50 9 9"), "train", "label-pixels", "error", "labels/train/a.txt:1"),
    (label("7 .5 .5 .1 .1\n" + OTHER), "train", "label-class", "error", "labels/train/a.txt:1"),
    (label("-1 .5 .5 .1 .1"), "train", "label-class-number", "error", "labels/train/a.txt:1"),
    (label("0 nan .5 .1 .1"), "train", "label-not-a-number", "error", "labels/train/a.txt:1"),
    (label("0 .5 .5 .2 .2 .9"), "train", "label-column", "error", "labels/train/a.txt:1"),
    (label("0 .5 .5 .2 .2 -9.5"), "train", "label-malformed", "error", "labels/train/a.txt:1"),
    (label("0 .1 .5 .4 .5"), "train", "box-clipped", "warning", "labels/train/a.txt:1"),
    (label(f"{POSE}\n" * 4), "train", "label-key-points", "warning", "labels/train/a.txt:1"),
    (label("0 .5 .5 .2 .2 .45 .45 2"), "train", "split-unusable", "error", ""),
    (label("0 .5 .5"), "train", "label-malformed", "error", "labels/train/a.txt:1"),
]


@pytest.mark.parametrize(("damage", "split", "code", "severity", "example"), [*CASES, *MORE])
def test_each_finding_of_yolo(cli, tmp_path: Path, damage, split, code, severity, example) -> None:
    data = make_sound(tmp_path / "set")
    damage(tmp_path / "set", tmp_path / "set/images/train/a.jpg")
    answer = cli("check", str(data), "--img-size", "64", "--json")
    report = json.loads(answer.out)
    finding = {(one["split"], one["code"]): one for one in report["findings"]}[split, code]
    assert finding["severity"] == severity
    assert example in (finding["examples"] or [""])[0]
    errors = [one for one in report["findings"] if one["severity"] == "error"]
    assert answer.code == (3 if errors else 0)


ANNOTATIONS = [
    ({"bbox": [1, 1, 2]}, "label-malformed", "error"),
    ({"bbox": [1, 1, "2", 9]}, "label-not-a-number", "error"),
    ({"bbox": [float("nan"), 1, 9, 9]}, "label-not-a-number", "error"),
    ({"bbox": [5, 5, 0, 9]}, "label-no-area", "warning"),
    ({"bbox": [90, 5, 9, 9]}, "label-range", "error"),
    ({"bbox": [40, 20, 60, 9]}, "box-clipped", "warning"),
    ({"category_id": 99}, "label-class-number", "error"),
    ({"image_id": 99}, "label-orphan", "warning"),
    ({"iscrowd": 1, "segmentation": {"counts": [9], "size": [48, 64]}}, "label-ignored", "info"),
]


@pytest.mark.parametrize(("change", "code", "severity"), ANNOTATIONS)
def test_each_finding_of_coco(cli, tmp_path: Path, change, code, severity) -> None:
    data = make_coco(tmp_path / "set")
    path = data / "train/_annotations.coco.json"
    tree = json.loads(path.read_text())
    tree["annotations"].append(tree["annotations"][0] | change)
    path.write_text(json.dumps(tree))
    answer = cli("check", str(data), "--json")
    found = {one["code"]: one["severity"] for one in json.loads(answer.out)["findings"]}
    assert found[code] == severity
    assert answer.code == (3 if severity == "error" else 0)


def test_images_and_categories_of_coco(cli, tmp_path: Path) -> None:
    data = make_coco(tmp_path / "set")
    path = data / "train/_annotations.coco.json"
    tree = json.loads(path.read_text())
    tree["images"][0]["width"] = 99
    tree["images"].append({"id": 7, "file_name": "../../../etc/passwd.jpg"})
    tree["images"].append({"id": 8, "file_name": "https://example.org/a.jpg"})
    tree["categories"].append({"id": 40, "name": "unused"})
    path.write_text(json.dumps(tree))
    answer = cli("check", str(data), "--json")
    found = {one["code"]: one["count"] for one in json.loads(answer.out)["findings"]}
    assert found["label-frame"] == 1
    assert found["image-outside"] >= 1
    assert found["class-empty"] == 1
    assert found["names-differ"] == 1
    assert answer.code == 3


OBJECTS = [
    (voc_text([("cat", 90, 5, 99, 9)]), "label-range", "error"),
    (voc_text([("cat", 40, 5, 99, 19)]), "box-clipped", "warning"),
    (voc_text([("cat", 9, 9, 9, 9)]), "label-no-area", "warning"),
]


@pytest.mark.parametrize(("text", "code", "severity"), OBJECTS)
def test_each_finding_of_voc(cli, tmp_path: Path, text, code, severity) -> None:
    data = make_voc(tmp_path / "set")
    write_text(data / "VOC2007/Annotations/train0.xml", text)
    answer = cli("check", str(data), "--json")
    found = {one["code"]: one["severity"] for one in json.loads(answer.out)["findings"]}
    assert found[code] == severity
    assert answer.code == (3 if severity == "error" else 0)


@pytest.mark.parametrize(
    ("extra", "size", "code"),
    [
        ("<object><name>cat</name></object>", "64 48", "label-malformed"),
        ("<object><difficult>1</difficult></object>", "64 48", "label-ignored"),
        ("", "99 48", "label-size"),
    ],
)
def test_more_findings_of_voc(cli, tmp_path: Path, extra, size, code) -> None:
    data = make_voc(tmp_path / "set")
    text = voc_text([("cat", 9, 9, 30, 30)], extra, size)
    write_text(data / "VOC2007/Annotations/train0.xml", text)
    answer = cli("check", str(data), "--json")
    assert code in {one["code"] for one in json.loads(answer.out)["findings"]}
