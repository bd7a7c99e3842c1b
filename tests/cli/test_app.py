from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from tutelage import __version__
from tutelage.cli.app import app

COMMANDS = tuple(get_command(app).commands)  # type: ignore[attr-defined]
SOURCE = Path(__file__).parents[2] / "src" / "tutelage"


@pytest.mark.parametrize(
    "argv", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join
)
def test_help_imports_no_torch(argv: list[str]) -> None:
    code = (
        "import sys\n"
        "from tutelage.cli.app import run\n"
        f"code = run({argv!r})\n"
        "heavy = {'torch', 'numpy', 'cv2', 'accelerate'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: tutelage" in done.stdout


def test_the_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"tutelage {__version__}\n")


def test_help_of_train(cli) -> None:
    text = cli("train", "--help").out
    panels = [line for line in text.splitlines() if line.startswith("╭─")]
    assert [panel.split()[1] for panel in panels] == [
        "Options",
        "What",
        "Distillation",
        "How",
        "Where",
    ]
    for flag in (
        "--teacher-weights",
        "--method",
        "--student-kd-layers",
        "--img-size",
        "--set",
        "--dry-run",
    ):
        assert flag in text
    assert "Example  tutelage train --data" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_one_screen(cli, monkeypatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert len(cli(command, "--help").out.rstrip().splitlines()) <= 50


@pytest.mark.parametrize("command", ["train", "compare", "doctor"])
def test_help_names_every_flag(cli, monkeypatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = cli(command, "--help").out
    own = get_command(app).commands[command].params  # type: ignore[attr-defined]
    for flag in (parameter.opts[0] for parameter in own):  # where it has two names, the first
        assert not flag.startswith("--") or re.search(rf"{flag}\b(?!-)", text), flag


def test_no_arguments_show_the_commands(cli) -> None:
    answer = cli()
    assert answer.code == 0
    assert all(re.search(rf"│ {command} ", answer.out) for command in COMMANDS)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["trian"],
            "Error [C22]: No such command 'trian'. Did you mean 'train'?\n  See  tutelage --help\n",
        ),
        (
            ["train", "--epoch", "3"],
            "no option --epoch.\n  Did you mean '--epochs'? See  tutelage train --help\n",
        ),
        (["train", "--epochs"], "Error [C22]: Option '--epochs' requires an argument.\n"),
        (["train", "extra"], "Error [C22]: Got unexpected extra argument"),
        (
            ["train", "--evolve"],
            "Error [C23]: --evolve is not supported: hyper-parameters are not searched;",
        ),
        (["val", "x", "--split", "tset"], "Error [C22]: Invalid value for '--split'"),
        (["layers"], "Error [C22]: Missing argument 'MODEL'"),
    ],
)
def test_usage_errors(cli, argv: list[str], message: str) -> None:
    answer = cli(*argv)
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_a_reader_that_left_is_no_error() -> None:
    shell = f"{sys.executable} -m tutelage config --all | head -n 1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout.split()[0], done.stderr) == ("data:", "")


def test_ctrl_c_outside_a_run_is_told(cli, monkeypatch) -> None:
    def interrupted(*lines: str, style: str = "") -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tutelage.cli.config.print_lines", interrupted)
    answer = cli("config")
    assert (answer.code, answer.err) == (130, "[R15] Stopped by Ctrl-C.\n")


def test_workers_ended_by_the_same_signal_are_no_news(capsys) -> None:
    from types import SimpleNamespace

    from tutelage.cli.app import _unraisable

    def raised(text: str) -> SimpleNamespace:
        error = RuntimeError(text)
        return SimpleNamespace(
            exc_type=RuntimeError, exc_value=error, exc_traceback=None, err_msg=None, object=None
        )

    _unraisable(raised("DataLoader worker (pid 1) is killed by signal: Terminated."))  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    with pytest.raises(TypeError):  # the interpreter's own hook takes its own type only
        _unraisable(raised("another"))  # type: ignore[arg-type]


def test_messages_name_only_commands_that_exist() -> None:
    """Commands in messages stand behind two spaces or are the start of a fix: tutelage NAME."""
    named = {
        word
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in re.findall(r"(?:^|  |\$ )tutelage ([a-z]+)", node.value)
    }
    assert {"train", "val", "explain"} <= named <= set(COMMANDS)


def test_ctrl_c_while_it_starts_leaves_no_traceback(tmp_path) -> None:
    package = tmp_path / "typer.py"  # imported long before any command line is read
    package.write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    code = "import sys; from tutelage.__main__ import main; sys.argv[1:] = ['explain']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{SOURCE.parent}"},
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "[R15] Stopped by Ctrl-C.\n"
    entry = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())
    assert entry["project"]["scripts"] == {"tutelage": "tutelage.__main__:main"}
