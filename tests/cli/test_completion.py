"""What the shell offers after a key press."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tutelage.cli import completion as c
from tutelage.distill import METHODS
from tutelage.models import ARCHITECTURES

pty = pytest.importorskip("pty", reason="needs a terminal of Unix")

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PREPARED = {"bash": "", "zsh": "autoload -U compinit; compinit -u -D; ", "fish": ""}
LIMIT = 60  # seconds until a shell that does not answer fails the test


def completing(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run what bash runs at the end of a command line; stderr lists the imports."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tutelage"],
        env={
            **os.environ,
            "_TUTELAGE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_shell_completes_options_and_words(tmp_path: Path) -> None:
    assert completing("tutelage train --cfg yolov7-t", tmp_path).stdout.split() == [
        "yolov7-tiny",
        "yolov7-tiny-silu",
    ]
    assert completing("tutelage explain d0", tmp_path).stdout.split()[:2] == ["d00", "d01"]


@pytest.mark.parametrize(
    "line",
    [
        "tutelage tr",
        "tutelage train --teacher-w",
        "tutelage train --method f",
        "tutelage train --cfg y",
        "tutelage train --set optim.",
        "tutelage explain D",
    ],
)
def test_it_is_quick_it_imports_no_torch(line: str, tmp_path: Path) -> None:
    done = completing(line, tmp_path)
    assert done.stdout.split()
    imported = set(re.findall(r"\|\s+([\w.]+)$", done.stderr, re.MULTILINE))
    assert "tutelage.cli.completion" in imported
    assert not imported & {"torch", "numpy", "cv2", "onnx"}


class Terminal:
    """A shell in a terminal that was told to complete tutelage, as its user would."""

    def __init__(self, shell: str, folder: Path) -> None:
        scripts = sysconfig.get_path("scripts")
        path = os.pathsep.join([scripts, os.environ["PATH"]])
        source = {**os.environ, "_TUTELAGE_COMPLETE": f"source_{shell}"}
        command = [str(Path(scripts) / "tutelage")]
        script = subprocess.run(command, env=source, capture_output=True, check=True).stdout
        (folder / "completion").write_bytes(script)
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            plain = {"TERM": "xterm", "HOME": str(folder), "PS1": "", "COLUMNS": "200"}
            os.execvpe(SHELLS[shell][0], SHELLS[shell], {**os.environ, **plain, "PATH": path})
        self.type(f"{PREPARED[shell]}source completion; echo re''ady\n")
        assert "ready" in self.shown("ready")

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def shown(self, *wanted: str) -> str:
        """Return what is shown until all wanted words are there, or no more comes."""
        seen, end = b"", time.monotonic() + LIMIT
        while time.monotonic() < end and not all(word.encode() in seen for word in wanted):
            if select.select([self.terminal], [], [], 0.5)[0]:
                try:
                    seen += os.read(self.terminal, 65536)
                except OSError:  # the shell has ended
                    break
        return seen.decode(errors="replace")

    def close(self) -> None:
        os.close(self.terminal)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "my-run").mkdir()
    for typed, wanted in (
        ("tutelage tr\t", ["train"]),
        ("tutelage train --teacher-w\t", ["--teacher-weights"]),
        ("tutelage train --method f\t\t", ["fgd", "fitnet", "frs"]),
        ("tutelage train --cfg yolov7-d\t", ["yolov7-d6"]),
        ("tutelage export my-\t", ["my-run"]),
    ):
        terminal = Terminal(shell, tmp_path)
        try:
            terminal.type(typed)
            shown = terminal.shown(*wanted)
        finally:
            terminal.close()
        assert all(word in shown for word in wanted), (typed, shown)


def test_the_names_are_those_that_exist() -> None:
    assert tuple(ARCHITECTURES) == c.ARCHITECTURES
    assert tuple(METHODS) == c.METHODS


def test_models_are_architectures_and_yamls(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()
    for name in ("yolov7-mine.yaml", "models/own.yml", "models/notes.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert c.complete_models("yolov7-m") == ["yolov7-mine.yaml"]
    assert c.complete_models("mod") == ["models/"]
    assert c.complete_models("models/") == ["models/own.yml"]
    assert c.complete_models(f"{tmp_path}/mod") == [f"{tmp_path}/models/"]
    assert c.complete_models("nowhere/x") == []
    assert c.complete_models("") == [*ARCHITECTURES, "models/", "yolov7-mine.yaml"]


@pytest.mark.parametrize(
    ("given", "offered"),
    [("cw", ["cwd"]), ("fgd+b", ["fgd+box", "fgd+bckd"]), ("au", ["auto"]), ("x", [])],
)
def test_methods(given: str, offered: list[str]) -> None:
    assert c.complete_methods(given) == offered


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ("optim.mom", ["optim.momentum="]),
        ("optim.name=ad", ["optim.name=adam", "optim.name=adamw"]),
        ("optim.lr=", []),
        ("nothing=", []),
    ],
)
def test_settings(given: str, offered: list[str]) -> None:
    assert c.complete_settings(given) == offered


def test_findings_are_codes() -> None:
    assert "label-pixels" in c.complete_codes("label-p")
    assert "T21" in c.complete_codes("T2")


def test_stores_are_names_in_the_usual_folder_and_paths(tmp_path: Path, monkeypatch) -> None:
    for name in ("runs/store/bccd-1/store.json", "runs/store/other/x.json", "bccd/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "bccd.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert c.complete_stores("bc") == ["bccd-1", "bccd/"]
    assert c.complete_stores("runs/store/o") == ["runs/store/other/"]
    assert c.complete_stores("runs/store/bccd-1/") == []
