"""The student of settings and of files that older versions wrote."""

from pathlib import Path

import pytest

from tutelage.api.settings import resolve
from tutelage.comparison.arms import plan_comparison
from tutelage.comparison.stored import check_same
from tutelage.config.dump import dump
from tutelage.config.load import load_config
from tutelage.config.schema import Config
from tutelage.errors import ConfigError
from tutelage.models.build import build, load
from tutelage.run.summary import describe_size
from tutelage.setup.student import StudentOrigin, make_student
from tutelage.weights.store import save_best

OLD = "yolov5s@0.125"  # to version 0.1.0 the width multiple itself: yolov5n@0.5


def write_run(folder: Path, arch_name: str = OLD, **settings: object) -> Path:
    """Write a run folder of a student with the width multiple 0.125."""
    student = build("yolov5n@0.5", ["a"])
    meta = {"arch": student.arch, "arch_name": arch_name, "names": ["a"]}
    folder.mkdir(parents=True)
    save_best(folder / "best.safetensors", student.state_dict(), meta)
    config = Config.model_validate({"model": {"arch": arch_name}, **settings})
    (folder / "config.yaml").write_text(dump(config, {}))
    return folder


def test_an_old_run_keeps_its_width_under_the_name_of_today(tmp_path: Path) -> None:
    model = load(write_run(tmp_path / "old"))
    assert (model.arch_name, model.arch["width_multiple"]) == ("yolov5n@0.5", 0.125)
    config = Config.model_validate({"model": {"arch": OLD}})
    origin = StudentOrigin(arch=model.arch, arch_name=OLD, start="from scratch")
    resumed, _ = make_student(config, ("a",), student_origin=origin)
    assert (resumed.arch_name, resumed.arch["width_multiple"]) == ("yolov5n@0.5", 0.125)
    assert load(write_run(tmp_path / "new", "yolov5s@0.25")).arch_name == "yolov5s@0.25"


def test_the_settings_of_an_old_run_do_not_start_another_width(tmp_path: Path) -> None:
    old, new = write_run(tmp_path / "old"), write_run(tmp_path / "new", "yolov5s@0.25")
    with pytest.raises(ConfigError, match=r"its yolov5s@0\.125 is yolov5n@0\.5 here") as caught:
        resolve({"config": str(old / "config.yaml")}, {})
    assert caught.value.fix == "Use  --cfg yolov5n@0.5"
    for options in (
        {"config": str(old / "config.yaml"), "cfg": "yolov5n@0.5"},
        {"config": str(old / "config.yaml"), "cfg": OLD},  # typed today
        {"config": str(new / "config.yaml")},
    ):
        resolve(options, {})
    (old / "best.safetensors").write_bytes(b"damaged")
    resolve({"config": str(old / "config.yaml")}, {})


def test_an_old_comparison_does_not_go_on_at_another_width(tmp_path: Path) -> None:
    distill = {"teacher": "runs/teacher", "methods": [{"name": "fgd"}]}
    run = {"project": str(tmp_path), "name": "many"}
    values = {"data": "digits", "distill": distill, "run": run}
    arms = plan_comparison(Config.model_validate({**values, "model": {"arch": OLD}}), seeds="1")
    write_run(tmp_path / "many" / "baseline-s0", data="digits")
    with pytest.raises(ConfigError, match=r"its yolov5s@0\.125 is yolov5n@0\.5 here"):
        check_same(arms, {}, {})


def test_the_plan_says_the_numbers_of_a_width() -> None:
    half, quarter = build("yolov5n@0.5", ["a"]), build("yolov7-tiny@0.25", ["a"])
    assert describe_size(half, 64).startswith("yolov5n@0.5 (width 0.125 = 0.5 × 0.25) 0.4")
    assert describe_size(quarter, 64).startswith("yolov7-tiny@0.25 0.3")


def test_a_run_file_that_belongs_to_no_run_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: {arch: yolov5n@0.5}")
    assert load_config(config_file=tmp_path / "mine.yaml").config.model.arch == "yolov5n@0.5"
    resolved, _ = resolve({"config": str(tmp_path / "mine.yaml")}, {})
    assert resolved.config.model.arch == "yolov5n@0.5"
