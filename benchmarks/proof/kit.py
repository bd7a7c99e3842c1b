"""What the tables of this folder share: the data sets, their teachers, runs with a result each.

A run that has a result in ``results/`` is not trained again, one that was stopped goes on where it
was. Teachers are trained once, into ``runs/proof``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tutelage.comparison.detections import teacher_detections
from tutelage.config.load import load_config
from tutelage.data import open_dataset
from tutelage.evaluation import bootstrap_metric
from tutelage.evaluation.validate import validate
from tutelage.files import atomic_write_text
from tutelage.run.teaching_cost import read_rows, read_teaching_cost
from tutelage.teachers import load_teacher

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REAL = ROOT.parent / "shared" / "data"
RESULTS = HERE / "results"
RUNS = ROOT / "runs" / "proof"
YOLO = "yolov7-tiny@0.75"
FULL = ("--cfg", "yolov7-tiny", "--img", "640", "--batch", "16")
FULL_YOLO = "yolov7"
DRAWS = 300


class DataSet(NamedTuple):
    """A data set with the settings of its runs.

    Attributes:
        name: Its name in tables and file names.
        data: What ``--data`` is given.
    """

    name: str
    data: str

    @property
    def settings(self) -> Path:
        """The run file of its students."""
        return HERE.parent / f"{self.name}.yaml"

    @property
    def present(self) -> bool:
        """Whether its images are on this machine."""
        return self.data == "digits" or Path(self.data).exists()


SETS = {
    each.name: each
    for each in (
        DataSet("digits", "digits"),
        *(DataSet(n, str(REAL / n / f"{n}.yaml")) for n in ("bccd", "deeppcb", "raccoon")),
    )
}


def main_teacher(data: str) -> str:
    """Return the teacher of a data set in the tables that name none.

    From scratch, on 118 photographs of raccoons, a larger YOLOv7 is no better than its student.
    """
    return "fcos" if data == "raccoon" else YOLO


class Cell(NamedTuple):
    """One run of a table: a row of it, a data set and a seed.

    Attributes:
        row: The name of the row.
        data: The name of the data set.
        seed: The seed.
        options: What ``tutelage train`` is given beside data, settings and seed.
        teacher: Its teacher, see :func:`teacher`; empty: none.
    """

    row: str
    data: str
    seed: int
    options: tuple[str, ...] = ()
    teacher: str = ""

    @property
    def entry(self) -> dict[str, Any]:
        """The cell as it is stored: with paths that are the same on every machine."""
        options = [option.replace(f"{ROOT}/", "") for option in self.options]
        return {**self._asdict(), "options": options}

    def full(self) -> Cell:
        """Return the cell at full scale."""
        name = FULL_YOLO if self.teacher == YOLO else self.teacher
        return self._replace(options=(*FULL, *self.options), teacher=name)


def arguments(description: str | None) -> argparse.Namespace:
    """Read the options that all tables have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--scale",
        choices=("small", "full"),
        default="small",
        help=f"full, for a GPU: real images, {' '.join(FULL)}, teacher {FULL_YOLO}",
    )
    options = parser.parse_args()
    for name in [name for name in options.data if not SETS[name].present]:
        print(f"{name} is not on this machine: left out", file=sys.stderr)
        options.data.remove(name)
    if options.scale == "full" and "digits" in options.data:
        options.data.remove("digits")  # its scenes have 128 px
    return options


def fill(table: str, cells: Iterable[Cell], options: argparse.Namespace) -> None:
    """Train and evaluate the cells of a table that have no result yet, in any table.

    A result has ``AP`` on val (of the best epoch), ``test`` on the test split, in 0..1, and:

    - ``draws``: AP on bootstrap draws of the test images, in 1/10000; the same draws in all runs
    - ``curve``: epochs that were evaluated, and AP on val after each
    - ``cost``: seconds spent on the teacher, as a share of the others
    - ``weights``: of the methods at the end of the run
    - ``weighed``: how often these were measured
    """
    for cell in cells:
        wanted = cell.data in options.data and cell.seed < options.seeds
        if not wanted or (options.rows and cell.row not in options.rows):
            continue
        if options.scale == "full":
            _fill(f"{table}-full", cell.full(), options.threads)
        else:
            _fill(table, cell, options.threads)


def _fill(table: str, cell: Cell, threads: int) -> None:
    known = [each for each in read(table, cell.data) if each["row"] == cell.row]
    if any(_run_of(each) == _run_of(cell.entry) for each in known):
        return
    if cell.teacher:
        _judge(cell.teacher, cell.data, threads)
    entry = _found_elsewhere(cell) or _result(cell, threads)
    _append(table, cell.data, {**entry, "row": cell.row})
    scored = f"{entry['AP']} val, {entry['test']} test"
    print(f"{table} {cell.data} {cell.row} s{cell.seed}: {scored}", flush=True)


def _found_elsewhere(cell: Cell) -> dict[str, Any] | None:
    known = (
        each
        for path in sorted(RESULTS.glob(f"*-{cell.data}.json"))
        for each in json.loads(path.read_text())
        if "AP" in each  # not the teachers of the table ``judged``
    )
    return next((each for each in known if _run_of(each) == _run_of(cell.entry)), None)


def _result(cell: Cell, threads: int) -> dict[str, Any]:
    name = hashlib.sha256(json.dumps(_run_of(cell.entry)).encode()).hexdigest()[:8]
    folder = train_run(f"{cell.data}-{cell.row}-s{cell.seed}-{name}", cell, threads)
    rows = read_rows(folder / "metrics.jsonl")
    curve = [(row["epoch"], round(row["AP"], 4)) for row in rows if "AP" in row]
    cost = read_teaching_cost(rows)
    table = validate(folder, data=SETS[cell.data].data, split="test", device="cpu").table
    return {
        **cell.entry,
        "AP": max(ap for _, ap in curve),
        **_test_scores(table, cell.data),
        "curve": curve,
        "cost": round(cost.share, 3) if cost else 0.0,
        "weights": {name: round(w, 5) for name, w in rows[-1].get("kd_weights", {}).items()},
        "weighed": "often",  # without it: when weights were measured five times a run
        "commit": _commit(),
    }


def _test_scores(table: Any, data: str) -> dict[str, Any]:
    """Return AP on the test split, in 0..1, and on draws of its images, in 1/10000."""
    values = bootstrap_metric(open_dataset(SETS[data].data, "test"), table, draws=DRAWS)
    return {"test": round(values[0], 4), "draws": np.rint(1e4 * values[1:]).astype(int).tolist()}


def _judge(name: str, data: str, threads: int) -> None:
    """Evaluate a teacher on the test split: an entry of the table ``judged``."""
    if any(each["row"] == name for each in read("judged", data)):
        return
    sys.path.append(str(HERE))  # where fcos is
    found = load_teacher(teacher(name, data, threads), torch.device("cpu"))
    config = load_config(config_file=SETS[data].settings, sets=[f"data={SETS[data].data}"]).config
    index = open_dataset(SETS[data].data, "test")
    table = teacher_detections(found, RUNS, config, "test", index, f"judged-{name}-{data}")
    entry = {"row": name, "data": data, "seed": 0, "options": [], "teacher": name}
    _append("judged", data, {**entry, **_test_scores(table, data)})


def read(table: str, data: str) -> list[dict[str, Any]]:
    """Return the results of a table on a data set."""
    path = _path(table, data)
    return json.loads(path.read_text()) if path.exists() else []


def teacher(name: str, data: str, threads: int) -> str:
    """Return what ``--teacher-weights`` is given; trained if it is not there.

    Args:
        name: An architecture of ours, trained like the students (on digits ``YOLO`` is the
            package's), ``fcos``, or a model of Ultralytics such as ``yolov8s``.
        data: The name of the data set.
        threads: Of the training.
    """
    if name == "fcos":
        if not (RUNS / f"fcos-{data}.pt").exists():
            _python(str(HERE / "fcos.py"), data)
        return f"fcos:{data}"
    if name.startswith("yolov8"):
        folder = RUNS / f"{name}-{data}"
        if not (folder / "weights/best.pt").exists():
            size = load_config(config_file=SETS[data].settings).config.train.image_size
            options = ("--model", f"{name}.yaml", "--data", SETS[data].data, "--folder", folder)
            script = str(HERE.parent / "ultralytics_teacher.py")
            _python(script, *map(str, (*options, "--image-size", size)))
        return f"ultralytics:{folder / 'weights/best.pt'}"
    if data == "digits" and name == YOLO:
        return str(ROOT / "src/tutelage/demo_teacher.safetensors")
    given: tuple[str, ...] = ("--cfg", name)
    if name == FULL_YOLO:
        given = (*FULL, *given)
    if data == "digits":  # its settings are for short runs, and name layers of a YOLOv7
        given = (*given, "--epochs", "40", "--student-kd-layers", "p3,p4,p5")
    run = train_run(f"teacher-{name}-{data}", Cell("teacher", data, 0, given), threads)
    return str(run / "best.safetensors")


def train_run(name: str, cell: Cell, threads: int) -> Path:
    """Train and return the run's folder; one that is finished is not trained again."""
    folder = RUNS / name
    if _finished(folder):
        return folder
    data = SETS[cell.data]
    command = ["train", "--config", str(data.settings), "--data", data.data, *cell.options]
    command += ["--seed", str(cell.seed), "--set", f"train.threads={threads}"]
    command += ["--project", str(RUNS), "--name", name, "--exist-ok"]
    if cell.teacher:
        command += ["--teacher-weights", teacher(cell.teacher, cell.data, threads)]
    if (folder / "last.pt").exists():
        command = ["train", "--resume", str(folder)]
        if cell.teacher:  # some are code
            command += ["--allow-code", teacher(cell.teacher, cell.data, threads)]
    _python("-m", "tutelage", *command)
    return folder


def _finished(folder: Path) -> bool:
    rows = folder / "metrics.jsonl"
    settings = folder / "config.yaml"
    if not rows.exists() or not (folder / "scores.json").exists():
        return False
    epochs = next(
        line.split()[1] for line in settings.read_text().splitlines() if "  epochs:" in line
    )
    return len(rows.read_text().splitlines()) == int(epochs)


def _python(*command: str) -> None:
    """Run Python, with this folder in its path; what it says stands in the error."""
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr}")


def _run_of(entry: dict[str, Any]) -> list[Any]:
    """What a run is given: rows with the same are one run."""
    return [entry["data"], entry["seed"], list(entry["options"]), entry["teacher"]]


def _append(table: str, data: str, entry: dict[str, Any]) -> None:
    rows = [*read(table, data), entry]
    rows.sort(key=lambda row: (row["row"], row["seed"]))
    text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"
    RESULTS.mkdir(exist_ok=True)
    atomic_write_text(_path(table, data), text)


def _path(table: str, data: str) -> Path:
    return RESULTS / f"{table}-{data}.json"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
