"""What the tables of this folder share: the data sets, their teachers, runs with a result each.

A run that has a result in ``results/`` is not trained again, one that was stopped goes on where it
was. The teachers are trained once, into ``runs/proof``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.files import atomic_write_text

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REAL = ROOT.parent / "shared" / "data"
RESULTS = HERE / "results"
RUNS = ROOT / "runs" / "proof"
TEACHER = "yolov7-tiny@0.75"


class DataSet(NamedTuple):
    """A data set with the settings of its runs, and how its teacher is trained.

    Attributes:
        name: Its name in tables and file names.
        data: What ``--data`` is given.
        teacher: Options of the teacher's training; None: the teacher is in the package.
    """

    name: str
    data: str
    teacher: tuple[str, ...] | None = ("--cfg", TEACHER)

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
        DataSet("digits", "digits", teacher=None),
        *(DataSet(n, str(REAL / n / f"{n}.yaml")) for n in ("bccd", "deeppcb", "raccoon")),
    )
}


class Cell(NamedTuple):
    """One run of a table: a row of it, a data set and a seed.

    Attributes:
        row: The name of the row.
        data: The name of the data set.
        seed: The seed.
        options: What ``tutelage train`` is given beside data, settings and seed.
        taught: Whether it has the data set's teacher.
    """

    row: str
    data: str
    seed: int
    options: tuple[str, ...] = ()
    taught: bool = False

    @property
    def entry(self) -> dict[str, Any]:
        """The cell as it is stored: with paths that are the same on every machine."""
        options = [option.replace(f"{ROOT}/", "") for option in self.options]
        return {**self._asdict(), "options": options}


def arguments(description: str | None) -> argparse.Namespace:
    """Read the options that all tables have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for name in [name for name in options.data if not SETS[name].present]:
        print(f"{name} is not on this machine: left out", file=sys.stderr)
        options.data.remove(name)
    return options


def fill(table: str, cells: Iterable[Cell], options: argparse.Namespace) -> None:
    """Train and evaluate the cells of a table that have no result yet.

    A result is ``AP`` on val (of the best epoch) and ``test`` on the test split, in 0..1.
    """
    for cell in cells:
        wanted = cell.data in options.data and cell.seed < options.seeds
        if not wanted or (options.rows and cell.row not in options.rows):
            continue
        if any(_key(each) == _key(cell.entry) for each in read(table, cell.data)):
            continue
        folder = _train(f"{table}-{cell.data}-{cell.row}-s{cell.seed}", cell, options.threads)
        scores = json.loads((folder / "scores.json").read_text())
        command = ("val", str(folder), "--data", SETS[cell.data].data, "--split", "test", "--json")
        test = json.loads(_tutelage(command).strip().splitlines()[-1])
        entry = {
            **cell.entry,
            "AP": round(scores["AP"], 4),
            "test": round(test["AP"], 4),
            "epoch": _best_epoch(folder),
            "commit": _commit(),
        }
        _append(table, cell.data, entry)
        scored = f"{entry['AP']} val, {entry['test']} test"
        print(f"{table} {cell.data} {cell.row} s{cell.seed}: {scored}", flush=True)


def read(table: str, data: str) -> list[dict[str, Any]]:
    """Return the results of a table on a data set."""
    path = _path(table, data)
    return json.loads(path.read_text()) if path.exists() else []


def teacher(data: str, threads: int) -> str:
    """Return the weights of a data set's teacher; trained if they are not there."""
    options = SETS[data].teacher
    if options is None:
        return str(ROOT / "src/tutelage/demo_teacher.safetensors")
    cell = Cell("teacher", data, 0, options)
    return str(_train(f"teacher-{data}", cell, threads) / "best.safetensors")


def _train(name: str, cell: Cell, threads: int) -> Path:
    folder = RUNS / name
    if _finished(folder):
        return folder
    data = SETS[cell.data]
    command = ["train", "--config", str(data.settings), "--data", data.data, *cell.options]
    command += ["--seed", str(cell.seed), "--set", f"train.threads={threads}"]
    command += ["--project", str(RUNS), "--name", name, "--exist-ok"]
    if cell.taught:
        command += ["--teacher-weights", teacher(cell.data, threads)]
    if (folder / "last.pt").exists():
        command = ["train", "--resume", str(folder)]
    _tutelage(command)
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


def _best_epoch(folder: Path) -> int:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    scored = [row for row in rows if "AP" in row]
    return max(scored, key=lambda row: row["AP"])["epoch"]


def _tutelage(command: Sequence[str]) -> str:
    """Run ``tutelage`` and return its output; what it says stands in the error."""
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"tutelage {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr}")
    return done.stdout


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["row"], entry["seed"], tuple(entry["options"]), entry["taught"]


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
