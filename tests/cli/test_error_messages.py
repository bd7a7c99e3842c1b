from __future__ import annotations

import errno
import json

import pytest

from tutelage.cli.error_messages import Interrupted, RunError, describe_error, report
from tutelage.errors import (
    ConfigError,
    DataError,
    ExportError,
    MissingExtraError,
    TeacherError,
    TrainingError,
    WeightsError,
)

OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (DataError("x"), 3),
        (WeightsError("x"), 4),
        (TeacherError("x"), 4),
        (ExportError("x"), 5),
        (MissingExtraError("x"), 5),
        (TrainingError("x"), 1),
        (Interrupted("x"), 130),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
        (ModuleNotFoundError("No module named 'sklearn'", name="sklearn.datasets"), 5),
        (ModuleNotFoundError("No module named 'tutelage.x'", name="tutelage.x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_exit_codes(error: BaseException, code: int, capsys) -> None:
    assert report(error, ["train"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_what_where_fix(capsys, folder) -> None:
    report(
        DataError("bccd.yaml has no 'names'.", where="bccd.yaml", fix="Add  names: [a, [b]]"), []
    )
    assert (
        capsys.readouterr().err
        == "Error [D00]: bccd.yaml has no 'names' (bccd.yaml)\n  Add  names: [a, [b]]\n"
    )
    report(DataError("x", fix="this\nor that"), [])
    assert capsys.readouterr().err == "Error [D00]: x\n  this\n  or that\n"
    assert not list(folder.iterdir())  # nothing to debug: no crash file


def test_a_long_message_is_not_wrapped(capsys) -> None:
    report(DataError("word " * 100), [])
    assert capsys.readouterr().err.count("\n") == 1


def fail() -> None:
    raise ValueError("boom [red]")


def test_the_unforeseen_leaves_a_crash_file(capsys, folder) -> None:
    with pytest.raises(ValueError, match="boom") as caught:
        fail()
    report(caught.value, ["train", "--name", "a b"])
    err = capsys.readouterr().err
    assert "Error [F00]: Unexpected error: ValueError: boom [red]\n" in err
    assert "tutelage-crash.txt" in err
    text = (folder / "tutelage-crash.txt").read_text()
    assert "$ tutelage train --name 'a b'" in text
    assert "in fail" in text
    assert "python 3." in text


def test_in_a_run_the_crash_file_is_in_its_folder(capsys, folder) -> None:
    (folder / "runs").mkdir()
    with pytest.raises(ValueError, match="boom") as caught:
        fail()
    error = RunError("runs")
    error.__cause__ = caught.value
    assert report(error, ["train"]) == 1
    assert "runs/crash.txt" in capsys.readouterr().err
    assert "boom" in (folder / "runs" / "crash.txt").read_text()
    assert not (folder / "tutelage-crash.txt").exists()


def test_a_crash_file_finds_a_place_somewhere(capsys, folder) -> None:
    (folder / "tutelage-crash.txt").mkdir()  # cannot be written
    report(ValueError("x"), [])
    err = capsys.readouterr().err
    assert "The traceback is in /" in err


def test_debug_shows_the_traceback(capsys) -> None:
    with pytest.raises(ValueError, match="boom") as caught:
        fail()
    report(caught.value, ["train"], debug=True)
    assert "in fail" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_outside_of_a_run(error) -> None:
    problem = describe_error(error)
    assert (problem.what, problem.code, problem.exit_code) == ("Memory ran out.", "R13", 1)
    assert "a smaller --batch-size" in problem.fix


def test_a_missing_package_is_named_as_pip_knows_it() -> None:
    assert (
        describe_error(ModuleNotFoundError("x", name="cv2")).fix
        == "pip install opencv-python-headless"
    )
    assert (
        describe_error(ModuleNotFoundError("x", name="sklearn.datasets")).fix
        == "pip install 'tutelage[demo]'"
    )
    assert describe_error(ModuleNotFoundError("x", name="foo.bar")).fix == "pip install foo"


def test_system_errors_name_the_file() -> None:
    full = describe_error(OSError(errno.ENOSPC, "No space left on device", "runs/a/last.pt"))
    assert full.what == "The disk is full: runs/a/last.pt."
    denied = describe_error(PermissionError(errno.EACCES, "Permission denied", "data.yaml"))
    assert denied.what == "Permission denied: data.yaml."


def test_json_gets_an_object_too(capsys) -> None:
    report(ConfigError("a", where="b", fix="c"), [], as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "event": "error",
        "what": "a",
        "where": "b",
        "fix": "c",
        "exit_code": 2,
        "unforeseen": False,
        "code": "C00",
    }
    assert "Error [C00]: a (b)" in captured.err


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "system (Killed), as"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "ended by the system, as"),
        ("DataLoader worker (pid 7) is killed by signal: Segmentation fault. ", "fault)."),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader"
         "'s workers are out of shared memory.", "(/dev/shm), through"),
        ("Caught RuntimeError in DataLoader worker process 0.\nunable to write to file "
         "</torch_7_1_0>: No space left on device (28)", "(/dev/shm), through"),
        ("unable to mmap 9 bytes from file </torch_7_1_0>: Cannot allocate memory (12)",
         "(/dev/shm), through"),
        ("unable to allocate shared memory(shm) for file </torch_7_1_0>", "(/dev/shm), through"),
        ("Caught MemoryError in DataLoader worker process 0.\nUnable to allocate 9 MiB",
         "found no memory"),
    ],
)  # fmt: skip
def test_loader_processes_without_memory(said: str, told: str) -> None:
    problem = describe_error(RuntimeError(said), command="val")
    assert (problem.code, problem.exit_code, problem.unforeseen) == ("R34", 1, False)
    assert told in problem.what
    assert "fewer --workers" in problem.fix


def test_the_signal_is_told_where_only_the_cause_names_it() -> None:
    error = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    error.__cause__ = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert "(Killed)" in describe_error(error).what


@pytest.mark.parametrize("said", ["Caught ValueError in DataLoader worker process 0.", "no"])
def test_other_faults_in_a_loader_process_are_told_as_they_are(said: str) -> None:
    assert describe_error(RuntimeError(said)).code == "F00"
