import subprocess
import sys

import pytest

from tutelage.errors import ConfigError
from tutelage.run import folder
from tutelage.run.folder import describe_environment, make_run_folder


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


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be made: .* Choose another --project"):
        make_run_folder(tmp_path / "file", "mine", "d")


def test_the_environment_names_versions_and_command():
    text = describe_environment("tutelage train --data d.yaml")
    assert "command: tutelage train --data d.yaml\n" in text
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
