"""A file is the old one or the new one, whatever happens."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tutelage.files import atomic_write, atomic_write_text


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    atomic_write_text(path, "old")

    def fails(file: Any) -> None:
        file.write(b"half of the new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, fails)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]  # noqa: PTH208
    atomic_write_text(path, "näw")
    assert path.read_bytes() == "näw".encode()


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("x")
    atomic_write_text(tmp_path / "ours", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]


def test_missing_folder_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write_text(tmp_path / "none" / "a", "x")
