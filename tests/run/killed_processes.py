"""Kill runs at random moments, let them go on, and compare them with one that nobody killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.data.write_dataset import make_scenes
from tests.models.pico import PICO
from tests.run.small_runs import make_teacher
from tutelage.run.checkpoint import load_checkpoint
from tutelage.weights.store import load_best

RUN = ["--cfg", str(PICO), "--img-size", "64", "--batch-size", "4", "--device", "cpu"]
OFTEN = ["train.nominal_batch=8", "train.save_minutes=0.008", "train.threads=1"]
# The weights are measured on fewer images than usual, which would take most of the time.
TUTELAGE = [
    sys.executable,
    "-c",
    "import sys; from tutelage.run import kd_weights; kd_weights.IMAGES = 16\n"
    "from tutelage.cli.app import run; sys.exit(run(sys.argv[1:]))",
]


class Killed(NamedTuple):
    """What became of a run that was killed again and again.

    Attributes:
        kills: How often it was.
        within: How many of the saves from which it went on lay within an epoch.
        differences: Which parts of its end differ from those of the run that nobody killed.
    """

    kills: int
    within: int
    differences: list[str]


def teachers(folder: Path) -> list[str]:
    """Make two teachers in a folder; return the options of a run with both."""
    options = ["--set", "distill.accept_teacher=true"]
    for number in range(2):
        options += ["--teacher-weights", make_teacher(folder / f"teacher{number}.safetensors")]
    return options


def distilled(folder: Path, epochs: int, seed: int = 0, kind: str = "averaged") -> list[str]:
    """Make data and teachers in a folder; return the options of a run of a kind.

    Args:
        folder: An empty folder.
        epochs: Of the run.
        seed: Of the run.
        kind: One of :data:`KINDS`.
    """
    options = ["--data", str(make_scenes(folder / "data", 22)), "--seed", str(seed)]
    options += ["--epochs", str(epochs), *KINDS[kind]]
    if kind != "plain":
        options += teachers(folder)
    if kind == "unlabelled":
        make_scenes(folder / "more", 7)
        options += ["--set", f"distill.images={folder / 'more'}"]
    return options


KINDS = {
    kind: line.split()
    for kind, line in {
        # measured weights, random masks, a balance between maps
        "averaged": "--method fgd --method mgd --patience 0",
        # each image is left to one teacher; distillation ends before the run does
        "picked": "--method mgd --method bckd --patience 0 --set distill.combine=pick "
        "--set distill.stop_epoch=5",
        "unlabelled": "--method mgd --method cwd:weight=2 --patience 0 --set augment.mixup=0.5 "
        "--set distill.images_ratio=0.5 --set distill.warmup_epochs=1 "
        "--set distill.schedule=cosine",
        # stops early: the learning rate is too small for a better AP
        "patient": "--method mgd:weight=0.1 --patience 4 --set optim.lr=1e-7 "
        "--set train.eval_every=2",
        "plain": "--multi-scale --optimizer adamw --cache-images --patience 0 --freeze 2 "
        "--set augment.close_mosaic=3 --set loss.anchor_t=1.2",
    }.items()
}


def begin(project: Path, name: str, options: list[str]) -> list[str]:
    """Return the command of a small run that saves about twice a second, with its own store."""
    own = f"distill.store={project / name}-store"
    sets = [word for each in (*OFTEN, own) for word in ("--set", each)]
    where = ["--project", str(project), "--name", name]
    return [*TUTELAGE, "train", *RUN, *options, *sets, *where, "--json"]


def kill_often(
    project: Path, options: list[str], *, kills: int, seconds: float, rng: random.Random
) -> Killed:
    """Train once undisturbed and once with SIGKILL at random moments, each run by ``options``.

    Args:
        project: An empty folder.
        options: Of ``tutelage train``: data, epochs, teachers, methods.
        kills: How often to kill at most; then the run may end.
        seconds: A run is killed at most so long after its plan was shown.
        rng: Chooses the moments, and the number of loader processes of each attempt.
    """
    whole, broken = project / "whole", project / "broken"
    subprocess.run(begin(project, "whole", [*options, "--workers", "0"]), check=True, stdout=-3)
    command, done, within = begin(project, "broken", options), 0, 0
    while True:
        wait = rng.uniform(0, seconds) if done < kills else None
        if _ends([*command, "--workers", str(rng.randrange(3))], wait):
            return Killed(done, within, differences(whole, broken))
        done += 1
        if (broken / "last.pt").exists():
            within += bool(load_checkpoint(broken / "last.pt").position[1])
            command = [*TUTELAGE, "train", "--resume", str(broken), "--json"]
        else:  # killed before its first save: it begins anew
            shutil.rmtree(broken)


def differences(one: Path, other: Path) -> list[str]:
    """Name the parts of two finished runs that are not equal to the last bit."""
    states = [load_checkpoint(folder / "last.pt").model_dump() for folder in (one, other)]
    keys = ("task", "ema", "optimizer", "weights", "balance", "position")
    found = [key for key in keys if _bits(states[0][key]) != _bits(states[1][key])]
    known = [
        {k: v for k, v in state["progress"].items() if k not in ("seconds", "teachers")}
        for state in states
    ]
    found += [key for key in known[0] if _bits(known[0][key]) != _bits(known[1][key])]
    best = [load_best(folder / "best.safetensors")[0] for folder in (one, other)]
    if _bits(best[0]) != _bits(best[1]):
        found.append("best.safetensors")
    rows = [_rows(folder / "metrics.jsonl") for folder in (one, other)]
    if rows[0] != rows[1] or [row["epoch"] for row in rows[0]] != list(range(1, len(rows[0]) + 1)):
        found.append("metrics.jsonl")
    files = ("scores.json", "predictions.json")
    found += [n for n in files if (one / n).read_bytes() != (other / n).read_bytes()]
    found += [path.name for path in other.glob(".*")]
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl`` but for what the process itself took.

    One that had only the evaluation of an epoch left has asked no teacher.
    """
    took = {"seconds", "teacher_ms", "teacher_seconds", "teacher_gib", "store_seconds", "asked"}
    took |= {"measuring_seconds", "checking_seconds", "checks_asked", "checks_teacher_seconds"}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in took} for row in rows]


def _bits(value: object) -> object:
    if isinstance(value, dict):
        return {key: _bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bits(item) for item in value]
    if isinstance(value, int | float):
        return float(value).hex()  # NaN, of a split without large objects, is as it was
    numpy = getattr(value, "numpy", None)
    return numpy().tobytes() if callable(numpy) else value


def _ends(command: list[str], seconds: float | None) -> bool:
    """Run a command to its end, or kill it so long after its plan; say whether it ended.

    Raises:
        RuntimeError: It failed by itself.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if seconds is not None and '"event": "plan"' in line:
                break
        try:
            _, told = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its loader processes, too
            process.communicate()
            return False
    if "[R16]" in told:  # it was killed between its last save and its end
        return True
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{told}")
    return True
