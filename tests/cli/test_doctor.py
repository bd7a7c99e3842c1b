"""``tutelage doctor``: options in, lines and exit status out."""

from __future__ import annotations

import json

import pytest

from tests.data.write_dataset import make_scenes
from tutelage import __version__
from tutelage.diagnosis.advice import Suggestion
from tutelage.diagnosis.findings import (
    DoctorFinding,
    ExaminationStage,
    LayerPairReport,
    MethodReport,
    StepCost,
    TeacherScores,
)
from tutelage.structures import Tap

FOUND = [
    ExaminationStage("networks and data", 0),
    TeacherScores("teacher.pt", {"AP": 0.53, "AP50": 0.9, "AP75": 0.5}),
    LayerPairReport(Tap("57", 16, 8), Tap("75", 256, 8), 1, (40, 40), 0.412),
    StepCost(16, 660.0, 1210.4),
    MethodReport("fgd", 0.79, False, (1.1, 1.5, 2.25), {"57": 1.25}, 60.0),
    Suggestion("--method bckd", "Heads are equal."),
]


@pytest.fixture
def examined(monkeypatch):
    """What the engine was asked; it answers with ``found``."""
    call = {"found": FOUND}

    def examine(config, origins, *, all_methods=False):
        call.update(config=config, origins=origins, all_methods=all_methods)
        yield from call["found"]

    monkeypatch.setattr("tutelage.api.doctor.examine", examine)
    return call


def test_lines(cli, examined):
    answer = cli(
        "doctor", "--teacher", "teacher.pt", "--student", "yolov7-tiny", "--data", "d.yaml"
    )
    assert answer.code == 0, answer.err
    assert answer.out.splitlines() == [
        f"tutelage {__version__}",
        "teacher  teacher.pt: AP .530 on this val split",
        "",
        "pair     channels  map     CKA",
        "57 → 75  16 → 256  40×40  .412",
        "",
        "method       weight  ∇kd / ∇det at it (quartiles)  at 57  adds ms",
        "fgd     0.79 (auto)                 1.5 (1.1…2.2)    1.2       60",
        "",
        "a step of 16 images takes 660 ms; the teacher adds 1210 ms",
        "",
        "Wiring: every term reaches the student.",
        "try  --method bckd",
        "     Heads are equal.",
    ]


def test_teachers_are_told_apart(cli, examined):
    taps = Tap("57", 16, 8), Tap("75", 256, 8)
    examined["found"] = [
        LayerPairReport(*taps, 1, (40, 40), 0.4),
        LayerPairReport(*taps, 2, (40, 40), 0.5),
    ]
    answer = cli("doctor", "--teacher", "a.pt", "--teacher", "b.pt", "--data", "d.yaml")
    assert examined["config"].distill.teachers == ("a.pt", "b.pt")
    assert "57 → 75 @1" in answer.out
    assert "57 → 75 @2" in answer.out


def test_an_error_is_told_and_ends_with_a_status(cli, examined):
    examined["found"] = [
        DoctorFinding("error", "The teacher finds nothing.", "Train it:\nor go on"),
        DoctorFinding("info", "ld does not fit."),
    ]
    answer = cli("doctor", "--teacher", "t.pt", "--data", "d.yaml")
    assert answer.code == 4
    assert "error: The teacher finds nothing.\n  Train it:\n  or go on\nld does" in answer.out
    assert "A run would not start with these errors." in answer.out


@pytest.mark.parametrize(
    ("student", "arch", "weights"),
    [
        ("yolov7-tiny@0.25", "yolov7-tiny@0.25", None),
        ("mine.yaml", "mine.yaml", None),
        ("runs/base", None, "runs/base"),
        ("base.pt", None, "base.pt"),
        ("yolov7-tny@0.5", "yolov7-tny@0.5", None),
    ],
)
def test_options_reach_the_settings(cli, examined, student, arch, weights):
    flags = ("--method", "cwd", "--img-size", "320", "--all-methods", "--set", "distill.ratio=1")
    cli("doctor", "--teacher", "t.pt", "--student", student, "--data", "d.yaml", *flags)
    config = examined["config"]
    assert (config.model.arch, config.model.weights) == (arch, weights)
    assert config.distill.teacher == "t.pt"
    assert config.distill.methods[0].name == "cwd"
    assert (config.train.image_size, config.distill.ratio) == (320, 1)
    assert examined["all_methods"]
    assert examined["origins"]["distill.teacher"] == "flag --teacher"


def test_a_mistyped_student(cli, tmp_path):
    flags = ("--teacher", "t.pt", "--device", "cpu", "--data")
    make_scenes(tmp_path / "d", 1)
    answer = cli("doctor", "--student", "yolov7-tny", *flags, "d/data.yaml")
    assert (answer.code, "Did you mean 'yolov7-tiny'?" in answer.err) == (2, True), answer.err


def test_json(cli, examined):
    examined["found"] = [
        *FOUND,
        LayerPairReport(Tap("65", 32, 16), Tap("88", 512, 16), 1, (9, 9), float("nan")),
    ]
    answer = cli("doctor", "--teacher", "t.pt", "--data", "d.yaml", "--json")
    found = json.loads(answer.out)
    assert found["ok"]
    assert found["teachers"][0]["scores"]["AP"] == 0.53
    assert found["levels"][0]["student"] == {"key": "57", "channels": 16, "stride": 8}
    assert found["levels"][1]["similarity"] is None
    assert found["methods"][0]["levels"] == {"57": 1.25}
    assert found["cost_ms"] == {"images": 16, "plain": 660.0, "teacher": 1210.4}
    assert found["suggestions"] == [{"setting": "--method bckd", "reason": "Heads are equal."}]
