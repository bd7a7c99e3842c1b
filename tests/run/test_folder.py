import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import Accelerator

from tests.run.small_runs import settings
from tutelage.errors import ConfigError
from tutelage.run import folder
from tutelage.run.folder import (
    describe_environment,
    make_run_folder,
    name_taken,
    new_run_folder,
    settings_for,
)


def test_a_folder_is_never_used_twice(tmp_path):
    names = [make_run_folder(tmp_path, None, "d-tiny-fgd").name for _ in range(3)]
    assert names == ["d-tiny-fgd-01", "d-tiny-fgd-02", "d-tiny-fgd-03"]
    names = [make_run_folder(tmp_path, "mine", "d").name for _ in range(3)]
    assert names == ["mine", "mine-02", "mine-03"]


def test_a_folder_may_be_used_again_if_asked(tmp_path):
    names = [make_run_folder(tmp_path, "mine", "d", exist_ok=True).name for _ in range(2)]
    assert names == ["mine", "mine"]
    names = [make_run_folder(tmp_path, None, "d", exist_ok=True).name for _ in range(2)]
    assert names == ["d-01", "d-02"]


def parts(project, **run):
    config = settings("d.yaml", project, run={"project": str(project), **run})
    student = SimpleNamespace(arch_name="yolov7-tiny@0.25")
    accelerator = Accelerator(cpu=True)
    return SimpleNamespace(
        config=config, student=student, distillation=None, accelerator=accelerator
    )


@pytest.mark.parametrize("exist_ok", [False, True])
def test_dry_runs_share_one_folder_and_take_no_name(tmp_path, exist_ok):
    for _ in range(2):
        for name in ("mine", None):
            given = parts(tmp_path, name=name, exist_ok=exist_ok)
            folder = new_run_folder(given, dry_run=True)
            assert not name_taken(given.config, folder)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine-dry-run",
        "d-yolov7-tiny-0.25-dry-run",
    }
    assert new_run_folder(parts(tmp_path, name="mine")).name == "mine"


def test_a_name_that_is_taken_is_told(tmp_path):
    given = parts(tmp_path, name="teacher")
    first, second = new_run_folder(given), new_run_folder(given)
    assert not name_taken(given.config, first)
    assert name_taken(given.config, second) == (
        f"{tmp_path}/teacher exists and stays that of an earlier run: this run is in "
        f"{tmp_path}/teacher-02. To write over it:  --exist-ok"
    )
    unnamed = parts(tmp_path)
    assert not any(name_taken(unnamed.config, new_run_folder(unnamed)) for _ in range(2))


def test_settings_of_a_run_that_goes_on_elsewhere_have_absolute_paths(tmp_path, monkeypatch):
    (tmp_path / "d.yaml").touch()
    monkeypatch.chdir(tmp_path)
    config, run = settings("d.yaml", "runs"), tmp_path / "runs/x"
    run.mkdir(parents=True)
    assert settings_for(run, config) == config  # an old run, without a record
    (run / "environment.txt").write_text(describe_environment("tutelage train"))
    assert settings_for(run, config) == config
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    moved = config.model_copy(update={"data": "../d.yaml"})
    assert settings_for(run, moved).data == str(tmp_path / "d.yaml")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be made: .* Choose another --project"):
        make_run_folder(tmp_path / "file", "mine", "d")


def test_the_environment_names_versions_and_command():
    text = describe_environment("tutelage train --data d.yaml")
    assert "command: tutelage train --data d.yaml\n" in text
    assert f"directory: {Path.cwd()}\n" in text
    assert "torch: " in text
    assert "git: " in text


def test_a_folder_is_held_by_one_process(tmp_path):
    try_it = f"from pathlib import Path; from tutelage.run.folder import lock_folder\n\
with lock_folder(Path({str(tmp_path)!r})): pass"
    with folder.lock_folder(tmp_path):
        code = f"import tutelage.run.folder as f; f.LOCK_WAIT = 0.3\n{try_it}"
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"Another process is training in {tmp_path}" in ended.stderr
    ended = subprocess.run([sys.executable, "-c", try_it], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_what_a_killed_process_began_to_write_is_removed(tmp_path):
    (tmp_path / ".last.pt.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / "last.pt").write_bytes(b"whole")
    folder.remove_temporary_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
