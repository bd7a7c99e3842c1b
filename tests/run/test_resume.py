"""Whether the teacher of a resumed run is still the same."""

import pytest
import torch

from tests.run.small_runs import (
    CHECKPOINT,
    interrupted,
    last,
    make_data,
    make_teacher,
    run,
    settings,
)
from tutelage.errors import TeacherError
from tutelage.models.summary import convert
from tutelage.run.checkpoint import RunProgress
from tutelage.run.events import Planned
from tutelage.run.resume import as_begun, check_teachers, teacher_identity
from tutelage.teachers.load import load_native
from tutelage.weights import load_best, save_best

CPU = torch.device("cpu")


def record(path):
    return load_native(str(path), CPU, torch.float32).record


def progress(identity):
    return RunProgress(
        best=0.0, best_epoch=0, best_scores={}, readings=[], threads=1, teachers=[identity]
    )


@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_a_teacher_that_was_only_saved_again_is_the_same(tmp_path, kind):
    path = CHECKPOINT if kind == "foreign" else tmp_path / "a.safetensors"
    if kind == "ours":
        make_teacher(path)
    convert(path, tmp_path / "b.safetensors")
    before, after = record(path), record(tmp_path / "b.safetensors")
    assert before["sha256"] != after["sha256"]
    check_teachers(progress(teacher_identity(before)), [after], "runs/x")


@pytest.mark.parametrize("change", ["tensor", "names", "arch"])
def test_another_meaning_is_another_teacher(tmp_path, change):
    make_teacher(tmp_path / "a.safetensors")
    state, header = load_best(tmp_path / "a.safetensors")
    if change == "tensor":
        key = next(key for key in state if key.endswith("weight"))
        state[key].flatten()[0] += 1e-3
    elif change == "names":
        header["names"] = header["names"][::-1]
    else:
        header["arch"]["activation"] = "nn.ReLU()"
    save_best(tmp_path / "b.safetensors", state, header)
    before, after = record(tmp_path / "a.safetensors"), record(tmp_path / "b.safetensors")
    with pytest.raises(TeacherError, match=r"is not the one with which runs/x began"):
        check_teachers(progress(teacher_identity(before)), [after], "runs/x")


def test_older_runs_stored_the_hash_of_the_file(tmp_path):
    make_teacher(tmp_path / "a.safetensors")
    found = record(tmp_path / "a.safetensors")
    check_teachers(progress(found["sha256"]), [found], "runs/x")
    with pytest.raises(TeacherError):
        check_teachers(progress("0" * 64), [found], "runs/x")


def test_teachers_elsewhere_go_by_their_name():
    mine = {"source": "my_package:teacher"}
    check_teachers(progress(teacher_identity(mine)), [mine], "runs/x")
    with pytest.raises(TeacherError):
        check_teachers(progress("other:teacher"), [mine], "runs/x")


def named(data, folder, name):
    """Return settings of two epochs with named layers and one method."""
    teacher = make_teacher(folder / "teacher.safetensors")
    layers = {"student_kd_layers": ["6"], "teacher_kd_layers": ["6"], "accept_teacher": True}
    given = settings(
        data, folder, distill={"teacher": teacher, "methods": [{"name": name}], **layers}
    )
    return given.model_copy(update={"train": given.train.model_copy(update={"epochs": 2})})


@pytest.mark.slow
def test_a_run_in_which_auto_was_one_method_goes_on_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    data = make_data(tmp_path / "data")
    folder = interrupted(named(data, tmp_path, "fgd"))
    rows = last(run(named(data, tmp_path, "auto"), resume=folder), Planned).rows
    methods = [text for _, text in rows if " × auto" in text]
    assert [text.partition(" ")[0] for text in methods] == ["fgd"]


@pytest.mark.parametrize("methods", [(), ("fgd", "bckd"), ("fgd@1", "bckd@1", "bckd@2")])
def test_auto_stays_auto_without_a_teacher_and_where_it_is_two(tmp_path, methods):
    given = named(str(tmp_path), tmp_path, "auto")
    assert as_begun(given, methods) == given
    assert as_begun(given, ("fgd@1", "fgd@2")) != given
