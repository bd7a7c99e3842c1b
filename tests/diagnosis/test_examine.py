"""The doctor on tiny graphs: what it finds, and what it would try."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.run.small_runs import CHECKPOINT, make_data, make_teacher, settings
from tests.setup.small_tasks import make_batch
from tutelage.diagnosis import examine as module
from tutelage.diagnosis.advice import AdviceInput, suggestions
from tutelage.diagnosis.examine import MEASURED_AGAIN, examine
from tutelage.diagnosis.findings import (
    STAGES,
    DoctorFinding,
    ExaminationStage,
    LayerPairReport,
    MethodReport,
    StepCost,
    TeacherScores,
)
from tutelage.distill import METHODS, Need
from tutelage.errors import ConfigError
from tutelage.evaluation import Latency
from tutelage.run.preflight import before_training as prepare
from tutelage.setup.build import build_run
from tutelage.setup.distillation import RESPONSES
from tutelage.structures import Knowledge, Tap
from tutelage.teachers import Teachers, cached
from tutelage.teachers.cached import CachedTeachers

RESULTS = Path(__file__).parents[2] / "benchmarks/proof/results"


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "IMAGES", 8)

    def timed(step, **_):
        step()
        return Latency(10.0, 11.0)

    monkeypatch.setattr(module, "timed", timed)


def files(folder):
    """Everything below a folder but the caches of labels and of the teacher's scores."""
    return {p for p in folder.rglob("*") if "cache" not in p.parts and p.suffix != ".npz"}


def of(found, kind):
    return [entry for entry in found if isinstance(entry, kind)]


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


def test_a_pair_that_works_is_measured_and_nothing_is_written(data, tmp_path):
    methods = [{"name": "fgd", "weight": 3.0}, {"name": "mgd"}]
    teacher = make_teacher(tmp_path / "t.safetensors")
    distill = {"teacher": teacher, "accept_teacher": True, "methods": methods}
    before = files(tmp_path)
    found = list(examine(settings(data, tmp_path / "runs", distill=distill)))
    assert files(tmp_path) == before
    assert [stage.title for stage in of(found, ExaminationStage)] == list(STAGES)
    assert not [f for f in of(found, DoctorFinding) if f.level == "error"]
    levels = of(found, LayerPairReport)
    assert [(level.student.key, level.teacher.key) for level in levels] == [
        ("3", "3"),
        ("4", "4"),
        ("5", "5"),
    ]
    assert [level.size for level in levels] == [(8, 8), (4, 4), (2, 2)]
    fgd, mgd = of(found, MethodReport)
    assert (fgd.weight, fgd.fixed, mgd.fixed) == (3.0, True, False)
    assert mgd.quartiles[1] == pytest.approx(1.0)  # the only one that is measured
    assert MEASURED_AGAIN in [f.text for f in of(found, DoctorFinding)]
    assert len(fgd.levels) == len(mgd.levels) == 3
    [cost] = of(found, StepCost)
    assert (cost.images, cost.plain) == (4, 10.0)
    assert cost.teacher > 0
    [worth] = of(found, TeacherScores)
    assert worth.source == teacher


def test_all_methods_that_fit_and_why_the_others_do_not(data, tmp_path):
    teacher = make_teacher(tmp_path / "t.safetensors")
    config = settings(data, tmp_path, distill={"teacher": teacher, "accept_teacher": True})
    found = list(examine(config, all_methods=True))
    names = {m.name for m in of(found, MethodReport)}
    assert {"fgd", "pkd", "bckd", "frs"} <= names
    assert "ld" not in names
    assert any(
        "'ld' cannot compare" in f.text for f in of(found, DoctorFinding) if f.level == "info"
    )
    for measured in of(found, MethodReport):
        assert measured.quartiles[1] == pytest.approx(METHODS[measured.name].ratio)


def test_several_teachers_are_examined_together(data, tmp_path):
    names = ("cat", "dog"), ("bird", "fish")
    teachers = [make_teacher(tmp_path / f"{n[0]}.safetensors", n) for n in names]
    methods = [
        {"name": "fgd", "weight": 3.0, "student_kd_layers": ["3"], "teacher": 1},
        {"name": "fgd", "weight": 2.0, "teacher": 1},
        {"name": "mgd"},
    ]
    distill = {"teacher": teachers, "accept_teacher": True, "methods": methods}
    found = list(examine(settings(data, tmp_path, distill=distill), all_methods=True))
    assert [worth.source for worth in of(found, TeacherScores)] == teachers
    assert of(found, TeacherScores)[1].scores is None
    levels = [(level.student.key, level.number) for level in of(found, LayerPairReport)]
    assert levels == [(key, number) for number in (1, 2) for key in ("3", "4", "5")]
    measured = {m.name: m for m in of(found, MethodReport)}
    assert measured["fgd@1"].weight == 3.0
    assert list(measured["fgd@1"].levels) == ["3"]
    assert list(measured["fgd-2@1"].levels) == ["3", "4", "5"]
    assert measured["mgd@1"].quartiles[1] == pytest.approx(0.5)  # half of the ratio each
    assert measured["mgd@2"].quartiles[1] == pytest.approx(0.5)
    assert "bckd@1" in measured
    assert "bckd@2" not in measured  # no class in common
    assert any("bckd does not fit" in f.text for f in of(found, DoctorFinding))


def test_what_teachers_say_is_asked_once_while_memory_lasts(monkeypatch):
    asked = []

    def teacher(images, *, predictions):
        asked.append(images)
        return Knowledge((images,))

    one, two = (make_batch(images=1, size=8, seed=seed) for seed in range(2))
    monkeypatch.setattr(cached, "CACHE_BYTES", 800)
    ask = CachedTeachers(Teachers([teacher], [False]))
    assert ask(one)[0].features[0] is ask(one)[0].features[0]
    assert len(asked) == 1
    ask(two), ask(two)
    assert len(asked) == 3  # there was no room for the second one


def test_a_teacher_of_another_image_size_is_told(data, tmp_path):
    teacher = make_teacher(tmp_path / "t.safetensors")
    config = settings(data, tmp_path, train={"image_size": 128}, distill={"teacher": teacher})
    found = list(examine(config))
    [told] = [f.text for f in of(found, DoctorFinding) if "--img-size" in f.text]
    assert "is judged at 128 px, trained at 64: it may find much less" in told


def test_faults_are_findings_not_the_end(data, tmp_path):
    teacher = make_teacher(tmp_path / "t.safetensors")
    config = settings(
        data,
        tmp_path,
        train={"freeze": (9,)},
        distill={"teacher": teacher, "methods": [{"name": "fgd"}]},
    )
    found = list(examine(config))
    told = [f.text for f in of(found, DoctorFinding) if f.level == "error"]
    assert any("finds nothing on this data" in text for text in told)
    assert any("reaches no parameter of the student" in text for text in told)
    assert not of(found, MethodReport)
    assert of(found, StepCost)


def test_a_student_above_its_teacher_is_told_as_a_run_tells_it(data, tmp_path, monkeypatch):
    scores = iter([0.5])  # of the student, once for both teachers
    monkeypatch.setattr(prepare, "evaluate_on_val", lambda *_: SimpleNamespace(AP=next(scores)))
    monkeypatch.setattr(
        module, "evaluate_teacher", lambda _, number, *__: {"AP": 0.4 + 0.2 * number}
    )
    teachers = [make_teacher(tmp_path / f"{name}.safetensors") for name in "ab"]
    weights = {"arch": None, "weights": str(CHECKPOINT)}
    parts = build_run(settings(data, tmp_path, model=weights, distill={"teacher": teachers}))
    [first, *rest] = of(module._evaluate_teachers(parts, parts.distillation), DoctorFinding)
    assert f"The teacher {teachers[0]} scores AP 0.400 on your val split" in first.text
    assert not rest


def test_without_a_teacher_there_is_nothing_to_examine(data, tmp_path):
    with pytest.raises(ConfigError, match="No teacher is given"):
        list(examine(settings(data, tmp_path)))


WIDE = (Tap("57", 64, 8), Tap("65", 128, 16), Tap("73", 256, 32))
CASE = AdviceInput(
    taps=WIDE,
    similarity=(0.4, 0.5, 0.6),
    features=True,
    comparable=True,
    predictions=True,
    fixed={"fgd": (1.5, 1.5)},
    weak=False,
)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({}, None),
        ({"weak": True}, "tutelage train --weights"),
        ({"taps": (Tap("57", 16, 8), *WIDE[1:])}, None),  # narrow layers teach as well
        ({"similarity": (0.4, 0.97, 0.6)}, "--student-kd-layers 57,73"),
        ({"similarity": (0.97, 0.97, 0.96)}, "another teacher"),
        ({"predictions": False}, "--method bckd"),
        ({"predictions": False, "comparable": False}, None),
        ({"fixed": {"fgd": (0.01, 1.5)}}, "--method fgd  without a weight"),
    ],
)
def test_rules(changes, setting):
    said = list(suggestions(CASE._replace(**changes)))
    assert len(said) == (setting is not None)
    if setting is not None:
        assert said[0].setting.startswith(setting)
        assert said[0].reason


def test_where_only_predictions_are_compared_layers_do_not_matter():
    alike = CASE._replace(similarity=(0.97, 0.5, 0.5))
    assert list(suggestions(alike))
    assert not list(suggestions(alike._replace(features=False)))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("methods-*.json")), ids=lambda path: path.stem)
def test_the_method_that_is_advised_is_the_best_of_every_table(path):
    """What the reason claims: on each data set more than all methods of features that were run."""
    advised = next(suggestions(CASE._replace(predictions=False))).setting.split()[-1]
    assert advised == RESPONSES  # what auto is where classes are shared
    features = {name for name, method in METHODS.items() if method.needs == Need.FEATURES}
    runs = json.loads(path.read_text())
    scores = {run["row"]: run["test"] for run in runs if run["seed"] == 0}
    beside = features & scores.keys()
    assert "fgd" in beside
    assert scores[advised] > max(scores[name] for name in beside)


def test_a_teacher_of_other_classes_has_the_code_and_the_words_of_a_run(data, tmp_path):
    teacher = make_teacher(tmp_path / "t.safetensors", names=("Cat ", "bird"))
    distill = {"teacher": teacher, "methods": [{"name": "fgd"}]}
    [finding] = [
        f
        for f in of(list(examine(settings(data, tmp_path, distill=distill))), DoctorFinding)
        if f.code == "T38"
    ]
    assert finding.level == "warning"
    assert f"No class of the teacher {teacher} has the name of a class of the data" in finding.text
    assert finding.text.endswith("--set distill.classes='{cat: Cat }'")


def test_a_teacher_without_a_fitting_method_does_not_hide_the_others(data, tmp_path):
    teachers = [make_teacher(tmp_path / f"{name}.safetensors") for name in "ab"]
    methods = [{"name": "fgd", "teacher": 1}, {"name": "ld", "teacher": 2}]
    distill = {"teacher": teachers, "accept_teacher": True, "methods": methods}
    found = list(examine(settings(data, tmp_path, distill=distill)))
    assert [m.name for m in of(found, MethodReport)] == ["fgd@1"]
    assert any("'ld@2' cannot compare" in f.text for f in of(found, DoctorFinding))


def test_a_fixed_weight_is_judged_as_it_will_be(data, tmp_path, monkeypatch):
    settled = {}

    def measure(task, teacher, batches, shares, adjust_balance):
        settled.update({name: adjust_balance(name, [0.2, 1.0, 0.5]) for name in shares})
        return actual(task, teacher, batches, shares, adjust_balance=adjust_balance)

    actual = module.measure_weights
    monkeypatch.setattr(module, "measure_weights", measure)
    methods = [{"name": "fgd", "weight": 3.0}, {"name": "cwd"}]
    distill = {"teacher": str(CHECKPOINT), "accept_teacher": True, "methods": methods}
    list(examine(settings(data, tmp_path, distill=distill)))
    assert settled == {"fgd": [1.0, 1.0, 1.0], "cwd": [0.2, 1.0, 0.5]}
