"""The teacher of a run: what it is worth on this data, and when that stops the run."""

from types import SimpleNamespace

import pytest
import torch

from tests.data.write_dataset import NAMES
from tests.run.small_runs import CHECKPOINT, make_data, make_teacher, settings, told
from tests.setup.small_tasks import make_setup
from tutelage.config.schema import Config, DistillConfig
from tutelage.data import open_dataset
from tutelage.distill.methods import METHODS
from tutelage.errors import TeacherError, WeightsError
from tutelage.models.build import build
from tutelage.models.weight_file import weight_file
from tutelage.run.kd_weights import WeightMeasurements
from tutelage.run.preflight import before_training as prepare_module
from tutelage.run.preflight.before_training import check_distillation
from tutelage.run.preflight.teacher_scores import class_map, evaluate_teacher, sample
from tutelage.setup.build import build_run
from tutelage.setup.distillation import default_ratio
from tutelage.teachers import NativeTeacher
from tutelage.training.schedule import Position

CPU = torch.device("cpu")
SCORED = {"AP", "AP50", "AP75", "threshold"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return make_data(tmp_path / "data")


def taught(data, tmp_path, names, *, accept=False):
    """Return teaching, val split and settings."""
    path = make_teacher(tmp_path / "teacher.safetensors", names)
    config = settings(data, tmp_path, distill={"teacher": path, "accept_teacher": accept})
    index = open_dataset(data, "val")
    return make_setup(config.distill, index.names), index, config


def test_a_teacher_that_finds_nothing_is_an_error_unless_accepted(data, tmp_path):
    distillation, index, config = taught(data, tmp_path, ["dog", "cat", "cow"])
    with pytest.raises(
        TeacherError, match=r"finds nothing .* AP50 0\.00\d on 8 val images"
    ) as caught:
        evaluate_teacher(distillation, 0, index, config, CPU)
    assert caught.value.exit_code == 4
    assert "distill.accept_teacher=true" in caught.value.fix
    _, _, config = taught(data, tmp_path, ["dog", "cat", "cow"], accept=True)
    assert evaluate_teacher(distillation, 0, index, config, CPU).keys() == SCORED


def test_it_is_evaluated_once_for_the_same_weights_data_and_size(data, tmp_path):
    distillation, index, config = taught(data, tmp_path, ["cat", "dog"], accept=True)
    calls, network = [], distillation.teachers.teachers[0].network
    network.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    first = evaluate_teacher(distillation, 0, index, config, CPU)
    assert sum(calls) == 8
    assert evaluate_teacher(distillation, 0, index, config, CPU) == first
    assert sum(calls) == 8
    evaluate_teacher(distillation, 0, index.subset([0, 1, 2]), config, CPU)
    assert sum(calls) == 11


def test_without_a_common_class_it_is_not_evaluated(data, tmp_path):
    distillation, index, config = taught(data, tmp_path, ["cow", "sheep"])
    assert evaluate_teacher(distillation, 0, index, config, CPU) is None


def test_classes_are_shared_by_name():
    teacher, data = ("dog", "cow", "cat"), ("cat", "dog")
    assert class_map(Config(), teacher, data) == {0: 1, 2: 0}


def test_a_map_of_classes_holds_for_judging_a_teacher_too():
    config = Config.model_validate({"distill": {"classes": {"cat": "puss"}}})
    assert class_map(config, ("dog", "puss"), ("cat", "dog")) == {1: 0}


def test_at_most_so_many_images_the_same_each_time(data):
    index = open_dataset(data, "val")
    assert sample(index, 8) is index
    chosen = [sample(index, 3) for _ in range(2)]
    assert len(chosen[0]) == 3
    assert chosen[0].fingerprint == chosen[1].fingerprint


def test_a_teacher_needs_weights(tmp_path):
    assert weight_file(str(CHECKPOINT)) == CHECKPOINT
    with pytest.raises(WeightsError, match=r"holds no best\.safetensors"):
        weight_file(str(tmp_path))
    (tmp_path / "best.safetensors").touch()
    assert weight_file(str(tmp_path)) == tmp_path / "best.safetensors"
    with pytest.raises(WeightsError, match="yolov7 is an architecture: it has no trained weights"):
        weight_file("yolov7")


@pytest.mark.parametrize(("start", "warned"), [(0.33, True), (0.28, False)])
def test_a_teacher_below_the_student_s_start(data, tmp_path, monkeypatch, start, warned):
    path = make_teacher(tmp_path / "teacher.safetensors")
    weights = {"arch": None, "weights": str(CHECKPOINT)}
    parts = build_run(settings(data, tmp_path, model=weights, distill={"teacher": path}))
    monkeypatch.setattr(
        prepare_module, "evaluate_teacher", lambda *_: {"AP": 0.29, "AP50": 0.5, "AP75": 0.2}
    )
    monkeypatch.setattr(prepare_module, "evaluate_on_val", lambda *_: SimpleNamespace(AP=start))
    readings = WeightMeasurements(parts)
    events = list(check_distillation(parts, readings, Position()))
    assert parts.distillation.records[0]["scores"]["AP"] == 0.29
    text = f"The teacher {path} scores AP 0.290 on your val split, the student starts at"
    assert (f"{text} {start:.3f}." in told(events)) == (text in told(events)) == warned
    assert "weights measured before the first step: bckd × " in told(events)
    resumed = list(
        check_distillation(parts, readings, Position(1, 0))
    )  # no start, no first reading
    assert told(resumed) == ""


@pytest.mark.parametrize(
    ("ratio", "shares"), [(None, {"bckd": 2.5, "fgd": 0.5}), (6.0, {"bckd": 3.0, "fgd": 3.0})]
)
def test_a_method_teaches_as_strongly_as_suits_it_unless_told(ratio, shares, tmp_path):
    methods = ({"name": "bckd"}, {"name": "fgd"}, {"name": "cwd", "weight": 2.0})
    config = DistillConfig.model_validate(
        {"teacher": make_teacher(tmp_path / "t.safetensors"), "methods": methods, "ratio": ratio}
    )
    distillation = make_setup(config, NAMES)
    assert distillation.shares == shares


def test_a_ratio_of_its_own_is_not_split(tmp_path):
    methods = ({"name": "bckd", "ratio": 4}, {"name": "fgd"}, {"name": "pkd", "ratio": 0.5})
    teacher = make_teacher(tmp_path / "t.safetensors")
    config = DistillConfig.model_validate({"teacher": teacher, "methods": methods, "ratio": 6})
    assert make_setup(config, NAMES).shares == {"bckd": 4.0, "fgd": 2.0, "pkd": 0.5}


@pytest.mark.parametrize(
    ("given", "names", "shares"),
    [
        ({}, NAMES, {"fgd": 1.0, "bckd": 2.0}),
        ({"ratio": 6}, NAMES, {"fgd": 3.0, "bckd": 3.0}),
        ({"methods": [{"name": "auto", "ratio": 3}]}, NAMES, {"fgd": 1.5, "bckd": 1.5}),
        ({"methods": [{"name": "auto", "ratio": 3}], "ratio": 6}, NAMES, {"fgd": 1.5, "bckd": 1.5}),
        ({"methods": [{"name": "auto", "weight": 2}]}, NAMES, {}),
        ({}, ["cow", "sheep"], {"fgd": 1.0}),
    ],
)
def test_named_layers_bring_a_method_that_looks_at_them(given, names, shares, tmp_path):
    teacher = make_teacher(tmp_path / "t.safetensors", names)
    config = DistillConfig.model_validate(
        {"teacher": teacher, "student_kd_layers": ["57"], **given}
    )
    assert make_setup(config, NAMES).shares == shares


def test_predictions_that_are_not_finite_are_told(data, tmp_path):
    distillation, index, config = taught(data, tmp_path, list(NAMES))
    [teacher] = distillation.teachers.teachers

    def broken(images, *, predictions=False):
        known = teacher(images, predictions=predictions)
        return known._replace(
            predictions=known.predictions._replace(xyxy=known.predictions.xyxy / 0)
        )

    broken.names, broken.title = teacher.names, "mine"
    distillation.teachers.teachers = (broken,)
    distillation.records[0].pop("sha256", None)
    with pytest.raises(TeacherError, match="predictions of mine are not finite"):
        evaluate_teacher(distillation, 0, index, config, CPU)


@pytest.mark.parametrize(
    ("arch", "method", "ratio"),
    [
        ("yolov7-tiny@0.25", "bckd", 5.0),
        ("yolov5n@0.25", "bckd", 5.0),  # other anchors, as many
        ("yolox-nano@0.25", "bckd", 2.0),  # no anchors: its detections are matched
        (None, "bckd", 2.0),
        ("yolox-nano@0.25", "fgd", 1.0),
    ],
)
def test_a_teacher_whose_detections_are_matched_pulls_less(arch, method, ratio):
    student = build("yolov7-tiny@0.125", NAMES)
    teacher = NativeTeacher(build(arch, NAMES)) if arch else SimpleNamespace()
    assert default_ratio(METHODS[method], student, teacher) == ratio
