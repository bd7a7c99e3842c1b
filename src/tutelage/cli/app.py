"""The ``tutelage`` command. Importing this imports no torch: ``--help`` is instant."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tutelage.cli.assignments import refuse_assignments
from tutelage.cli.bench import bench
from tutelage.cli.check import check
from tutelage.cli.closed_pipe import ReaderGone, outlive_readers
from tutelage.cli.compare import compare
from tutelage.cli.config import config
from tutelage.cli.demo import demo
from tutelage.cli.doctor import doctor
from tutelage.cli.error_messages import Interrupted, report
from tutelage.cli.explain import explain
from tutelage.cli.export import export
from tutelage.cli.layers import layers
from tutelage.cli.methods import methods
from tutelage.cli.predict import predict
from tutelage.cli.report import report as report_runs
from tutelage.cli.store import store
from tutelage.cli.teach import teach
from tutelage.cli.train import train
from tutelage.cli.val import val
from tutelage.cli.weights import weights
from tutelage.cli.yolo_flags import translate

app = typer.Typer(
    name="tutelage",
    help="Distil YOLO detectors: train a small student, taught by a strong teacher.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
HIDDEN = "Also --single-cls --optimizer --freeze --patience --multi-scale --rect --allow-code"
MORE = "YOLOv7/v5's flags. All: tutelage config --all"
EXAMPLE = "[dim]Example[/]  tutelage train --data bccd.yaml --teacher-weights teacher.pt"
app.command(epilog=f"{EXAMPLE}\n\n[dim]{HIDDEN} --exist-ok and {MORE}[/]")(train)
app.command(epilog="[dim]Example[/]  tutelage check bccd.yaml --html atlas.html")(check)
app.command(epilog="[dim]Example[/]  tutelage val runs/distilled --split test")(val)
app.command(epilog="[dim]Example[/]  tutelage export runs/distilled --to onnx")(export)
PHOTOS = "[dim]Example[/]  tutelage predict runs/distilled photos/ --save out/"
app.command(epilog=PHOTOS)(predict)
app.command(epilog="[dim]Example[/]  tutelage bench runs/distilled --runtime onnx")(bench)
MANY = "[dim]Example[/]  tutelage compare --data d.yaml --teacher-weights t.pt --method fgd"
app.command(epilog=f"{MANY}\n\n[dim]{HIDDEN} --seed-list and {MORE}[/]")(compare)
TWO = "[dim]Example[/]  tutelage report runs/baseline runs/distilled"
app.command(name="report", epilog=TWO)(report_runs)
app.command(epilog="[dim]Example[/]  tutelage layers yolov7-tiny --teacher yolov7.pt")(layers)
DOCTOR = (
    "[dim]Example[/]  tutelage doctor --student yolov7-tiny --teacher runs/big --data bccd.yaml"
)
app.command(epilog=f"{DOCTOR}\n\n[dim]Also --single-cls --freeze --allow-code[/]")(doctor)
app.command(epilog="[dim]Example[/]  tutelage weights yolov7.pt --to yolov7.safetensors")(weights)
AHEAD = "[dim]Example[/]  tutelage teach --data d.yaml --teacher-weights t.pt --device cuda:0"
app.command(epilog=f"{AHEAD}\n\n[dim]All options of tutelage train: give the same[/]")(teach)
app.add_typer(store, name="store")
app.command()(methods)
app.command()(demo)
app.command(epilog="[dim]Example[/]  tutelage explain D03")(explain)
app.command(epilog="[dim]Example[/]  tutelage config run.yaml --set optim.lr=0.005")(config)


def _show_version(wanted: bool) -> None:
    if wanted:
        from tutelage import __version__

        print(f"tutelage {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            metavar="",
            help="Show the version",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Distil YOLO detectors: train a small student, taught by a strong teacher."""


def run(argv: Sequence[str]) -> int:
    """Run a command line and return the exit code; every error becomes a message."""
    sys.path.append(str(Path.cwd()))  # as for python -m: custom methods and teachers
    with outlive_readers(stop=not _leaves_files(argv)):
        try:
            refuse_assignments(argv)
            legacy = translate(argv or ["--help"])
            command = typer.main.get_command(app)
            code = command.main(
                args=legacy.argv, prog_name="tutelage", standalone_mode=False, obj=legacy
            )
            if sys.stdout is not None:  # closed by the shell: >&-
                sys.stdout.flush()
            if code == Interrupted.exit_code:  # typer's exit code for Ctrl-C
                raise KeyboardInterrupt
        except ReaderGone:
            return 0
        except (Exception, KeyboardInterrupt) as error:
            return report(error, argv, debug="--debug" in argv, as_json="--json" in argv)
    return code if isinstance(code, int) else 0


def _leaves_files(argv: Sequence[str]) -> bool:
    """Whether a command has an effect beside what it prints: all but predicting without saving."""
    return argv[:1] != ["predict"] or any(word.startswith("--save") for word in argv)


def _unraisable(error: sys.UnraisableHookArgs) -> None:
    """Report errors in clean-up, except those of loader workers that a signal has ended."""
    if "DataLoader worker" not in str(error.exc_value):
        sys.__unraisablehook__(error)


class _StderrHandler(logging.StreamHandler):
    """Writes to what stderr is at that moment: above a live line, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.unraisablehook = _unraisable
    # Errors of images are reported with their names; the warnings of Pillow have none.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logger = logging.getLogger("tutelage")  # progress of reading data, and warnings
    logger.addHandler(_StderrHandler())
    logger.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    sys.exit(run(sys.argv[1:]))
