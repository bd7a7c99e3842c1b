from __future__ import annotations

import json
import re

import pytest

from tests.teachers.library_networks import hugging_face_detector
from tutelage.config import load_config


def test_the_layers_of_a_network(cli) -> None:
    answer = cli("layers", "yolov7-tiny@0.25", "--img-size", "320")
    assert answer.code == 0
    title, head, *rows = answer.out.splitlines()
    assert title.startswith("yolov7-tiny@0.25: ")
    assert " GFLOPs at 320 px. Default taps: " in title
    assert title.endswith("Default taps: p3 = 57  p4 = 65  p5 = 73")
    assert head.split() == ["layer", "block", "channels", "stride", "at", "320", "px", "level"]
    assert [row.split()[0] for row in rows] == [str(n) for n in range(77)]  # the head is no tap
    assert rows[57].split()[-3:] == ["8", "40×40", "p3"]


def test_the_layers_of_a_network_with_four_levels(cli) -> None:
    answer = cli("layers", "yolov7-w6@0.125", "--img-size", "128")
    assert answer.code == 0, answer.err
    title, _, *rows = answer.out.splitlines()
    assert title.endswith("Default taps: p3 = 83  p4 = 93  p5 = 103  p6 = 113")
    assert rows[113].split()[-3:] == ["64", "2×2", "p6"]
    assert " GFLOPs at 128 px with the auxiliary heads of training (deployed: " in title
    training, deployed = (float(text) for text in re.findall(r"([\d.]+) M", title))
    assert deployed < training
    marked = [row.split()[0] for row in rows if row.endswith("auxiliary")]
    assert marked == ["118", "119", "120", "121"]
    refused = cli("layers", "yolov5n6", "--img-size", "160")
    assert "--img-size 160 must be a multiple of 64" in refused.err


def test_pairs_are_ready_to_paste(cli, tmp_path) -> None:
    answer = cli("layers", "yolov7-tiny@0.25", "--teacher", "yolov7-tiny")
    assert answer.code == 0, answer.err
    assert "student yolov7-tiny@0.25: " in answer.out
    assert "teacher yolov7-tiny: " in answer.out
    pairs = answer.out.split("Suggested pairs")[1].splitlines()[2:5]
    assert [row.split()[:3] for row in pairs] == [
        ["p3", "57", "57"],
        ["p4", "65", "65"],
        ["p5", "73", "73"],
    ]
    lines = answer.out.splitlines()[-2:]
    (tmp_path / "hyp.yaml").write_text("\n".join(lines))
    distill = load_config(hyp=tmp_path / "hyp.yaml").config.distill
    assert distill.student_kd_layers == distill.teacher_kd_layers == ("57", "65", "73")


def test_json(cli) -> None:
    listing = json.loads(cli("layers", "yolov7-tiny@0.25", "--json").out)
    row = listing["student"][57]
    assert (row["index"], row["stride"], row["size"], row["level"]) == (57, 8, [80, 80], "p3")


def test_a_size_off_the_grid(cli) -> None:
    answer = cli("layers", "yolov7-tiny@0.25", "--img-size", "100")
    assert (answer.code, "Nearest: 96." in answer.err) == (2, True)


def test_no_such_network(cli) -> None:
    answer = cli("layers", "yolov7-tin")
    assert (answer.code, "Did you mean 'yolov7-tiny'?" in answer.err) == (2, True)


def test_pairs_with_another_library(cli, tmp_path) -> None:
    hugging_face_detector("rt_detr").save_pretrained(tmp_path / "hf")
    answer = cli("layers", "yolov7-tiny@0.25", "--teacher", f"hf:{tmp_path / 'hf'}", "--img", "320")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[-1] == "teacher_kd_layers: [p3, p4, p5]"
    assert lines[-2] == "student_kd_layers: [57, 65, 73]"
    assert ["p3", "32", "8", "40×40"] in [line.split() for line in lines]


def test_the_layers_of_another_library(cli, tmp_path) -> None:
    hugging_face_detector("rt_detr").save_pretrained(tmp_path / "hf")
    answer = cli("layers", f"hf:{tmp_path / 'hf'}", "--img", "320")
    assert answer.code == 0, answer.err
    title, head, *rows = answer.out.splitlines()
    assert title.startswith("teacher ")
    assert head.split() == ["layer", "channels", "stride", "at", "320", "px"]
    assert [row.split() for row in rows] == [
        ["p3", "32", "8", "40×40"],
        ["p4", "32", "16", "20×20"],
        ["p5", "32", "32", "10×10"],
    ]
    found = json.loads(cli("layers", f"hf:{tmp_path / 'hf'}", "--img", "320", "--json").out)
    assert found["teacher"][0] == {"key": "p3", "channels": 32, "stride": 8, "size": [40, 40]}
    refused = cli("layers", f"hf:{tmp_path / 'hf'}", "--teacher", "yolov7-tiny")
    assert (refused.code, "cannot be a student" in refused.err) == (2, True)
    assert "names no network" in cli("layers", "hf:").err


def test_a_d_fine_is_listed_as_a_student(cli, tmp_path) -> None:
    pytest.importorskip("scipy", reason="needs SciPy")
    hugging_face_detector("d_fine").save_pretrained(tmp_path / "fine")
    answer = cli("layers", f"hf:{tmp_path / 'fine'}", "--img", "128", "--teacher", "yolov7-tiny")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("student fine: ")
    assert lines[0].endswith("Default taps: p3 = 16  p4 = 19  p5 = 22")
    assert "student_kd_layers: [16, 19, 22]" in lines
    assert "teacher_kd_layers: [57, 65, 73]" in lines


def test_a_share_of_the_width_is_told_in_numbers(cli):
    title = cli("layers", "yolov5n@0.5", "--img-size", "64").out.splitlines()[0]
    assert title.startswith("yolov5n@0.5 (width 0.125 = 0.5 × 0.25): ")
