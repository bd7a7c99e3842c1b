"""Two processes on the CPU (gloo), with DDP's default flags."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from tests.models.pico import PICO
from tests.run.small_runs import interrupted, make_data, make_teacher, run, settings
from tests.setup.small_tasks import make_batch, make_task
from tutelage.config import load_config
from tutelage.distill.view import View
from tutelage.errors import TeacherError
from tutelage.models.catalog import named
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.preflight import teacher_scores, wiring
from tutelage.run.preflight.before_training import evaluate_on_val
from tutelage.setup.build import build_run
from tutelage.teachers import Teachers, fingerprint
from tutelage.training.supervision import SupervisedBatch, TeacherSupervision
from tutelage.training.task import Task
from tutelage.weights.store import load_best

ROOT = Path(__file__).parents[2]
STEPS = 3


def run_folders(project):
    """Return the runs of a project, without what their teachers said."""
    return [path for path in project.iterdir() if path.name != "store"]


def two_teachers():
    """Return a task whose methods listen to a teacher each, and both teachers."""
    task, teachers = make_task("fgd")
    more, other = make_task("mgd", seed=1)
    methods = {"fgd": task.methods["fgd"], "mgd": more.methods["mgd"]}
    views = {"fgd": View(teacher=0), "mgd": View(teacher=1)}
    both = Task(task.student, task.criterion, methods, None, task.taps, views)
    return both, Teachers([*teachers.teachers, *other.teachers], [False, False])


class PickByRank:
    """Leaves all images of the first process to the first teacher, of the second to the second."""

    def __init__(self, teachers, rank):
        self.teachers, self._rank = teachers, rank

    def __call__(self, batch, active):
        knowledge = self.teachers(batch) if active else None
        teacher_of_image = torch.full((len(batch.images),), self._rank)
        return SupervisedBatch(batch, knowledge, active, teacher_of_image)


def work(rank, folder, kind):
    """Train three steps with a teacher and three without, and write down what came out."""
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from tutelage.config.schema import OptimConfig
    from tutelage.training.ema import make_ema
    from tutelage.training.loop import fit
    from tutelage.training.optimizer import make_optimizer
    from tutelage.training.schedule import Schedule, WeightSchedule

    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    if kind == "picked":
        task, teachers = two_teachers()
        supervision = PickByRank(teachers, rank)
    else:
        task, teachers = make_task(seed=rank)  # DDP must bring them together
        supervision = TeacherSupervision(teachers, [[0, 1, 2]])
    optimizer = make_optimizer(task, OptimConfig(lr=0.01))
    batches = [make_batch(seed=s) for s in range(2 * STEPS)]
    loader = DataLoader(batches, batch_size=1, collate_fn=lambda only: only[0])
    wrapped, optimizer, loader = accelerator.prepare(task, optimizer, loader)
    assert isinstance(wrapped, DistributedDataParallel)
    assert not wrapped.find_unused_parameters
    ema = make_ema(task.student)
    schedule = Schedule(
        epochs=2,
        steps=STEPS,
        batch=4,
        nominal_batch=8,
        weight_schedules=dict.fromkeys(task.methods, WeightSchedule(stop_epoch=1)),
    )
    losses = [
        {name: float(value) for group in event.losses for name, value in group.items()}
        for event in fit(accelerator, wrapped, supervision, optimizer, ema, loader, schedule)
        if hasattr(event, "losses")
    ]
    state = {
        "parameters": fingerprint((n, p.data) for n, p in task.named_parameters()),
        "losses": losses,
    }
    torch.save(state, f"{folder}/{rank}.pt")
    accelerator.end_training()


def whole(folder):
    """Train a whole run as one of two processes."""
    teachers = [f"{folder}/{name}.safetensors" for name in "ab"]
    methods = [{"name": "fgd", "weight": 1}, {"name": "bckd", "teacher": 2, "weight": 1}]
    distill = {"teacher": teachers, "accept_teacher": True, "methods": methods, "combine": "pick"}
    train = {"epochs": 2, "patience": 1}
    run(settings(f"{folder}/data/data.yaml", f"{folder}/runs", train=train, distill=distill))


def anchor_free(folder, arch):
    """Train a student without anchors as one of two processes, the last epoch without mosaic."""
    methods = [{"name": name, "weight": 0.1} for name in ("fgd", "bckd")]
    teacher = f"{folder}/teacher.safetensors"
    config = settings(
        f"{folder}/data/data.yaml",
        f"{folder}/runs",
        model={"arch": arch},
        train={"epochs": 2, "patience": 0},
        augment={"close_mosaic": 1},
        distill={"teacher": teacher, "accept_teacher": True, "methods": methods},
    )
    run(config)


def resumed(folder):
    """Go on, as one of two processes, with a run that one process began."""
    [run_folder] = Path(folder, "runs").iterdir()
    config = load_config(config_file=run_folder / "config.yaml").config
    run(config, resume=str(run_folder))


def judged(rank, folder):
    """Evaluate as one of two processes whose BatchNorm differ; write down what came out."""
    config = settings(f"{folder}/data/data.yaml", f"{folder}/runs", train={"batch": 3})
    parts = build_run(config)
    network = parts.ema.module
    if rank:
        network.model[0].bn.running_mean += 1.0
    scores = evaluate_on_val(parts, network)
    seen = [int(number) for batch in parts.val_loader for number in batch.ids]
    torch.save({"seen": seen, "found": scores.detections}, f"{folder}/{rank}.pt")
    parts.accelerator.end_training()


def disagree(rank, folder, refusing, stage):
    """Train as one of two processes, of which one alone would refuse; write down how it ended."""
    if stage == "scores":
        teacher_scores.LOWEST_AP50 = 2.0 if rank == refusing else 0.0
    elif rank == refusing:
        wiring.PROBE_STEPS = 0  # no parameter of a method changes
    methods = [{"name": "mgd", "weight": 1}]
    distill = {"teacher": f"{folder}/a.safetensors", "methods": methods}
    distill["accept_teacher"] = stage != "scores"
    try:
        run(settings(f"{folder}/data/data.yaml", f"{folder}/runs", distill=distill))
        end = "finished"
    except TeacherError as error:
        end = error.what
    Path(folder, f"{rank}.txt").write_text(end)


def equal(folder, name, batch):
    """Train with BatchNorm frozen, with a teacher, up to past its stop epoch; keep the folder."""
    torch.nn.BatchNorm2d.train = lambda self, mode=True: torch.nn.Module.train(self, mode=False)
    methods = [{"name": "fgd", "weight": 0.01}]
    distill = {"teacher": f"{folder}/a.safetensors", "accept_teacher": True, "methods": methods}
    train = {"epochs": 3, "batch": batch, "nominal_batch": 8}
    config = settings(
        f"{folder}/data/data.yaml",
        f"{folder}/{name}",
        train=train,
        optim={"warmup_epochs": 0},
        distill=distill | {"stop_epoch": 2},
    )
    run(config)


def environment():
    """Return the environment of two processes that find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "src"))),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # no slow look-ups
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }


def both(folder, kind, timeout=280):
    """Run this file in two processes to their end."""
    shared = environment()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(rank), str(folder), kind],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=timeout) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "picked"])
def test_two_processes_keep_equal_weights(tmp_path, kind):
    """With ``picked``, each process leaves a method out: its parameters must stay in step."""
    both(tmp_path, kind)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["parameters"] == second["parameters"]
    assert len(first["losses"]) == 2 * STEPS
    assert first["losses"] != second["losses"]  # each saw its own images
    assert "fgd/relation" in first["losses"][0]
    assert set(first["losses"][-1]) == {"box", "obj", "cls"}
    if kind == "picked":
        assert "fgd/relation" not in second["losses"][0]
        assert "mgd/generation" in second["losses"][0]


@pytest.mark.slow
def test_two_processes_make_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    make_data(tmp_path / "data")
    for name in "ab":
        make_teacher(tmp_path / f"{name}.safetensors")
    both(tmp_path, "whole")
    [folder] = run_folders(tmp_path / "runs")
    assert (folder / "best.safetensors").exists()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        heard = [line.get(f"fgd@{number}/relation", 0.0) for number in (1, 2)]
        assert sum(heard) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "last_epoch"), [("yolox-nano@0.25", {"l1"}), ("yolov9-t@0.25", set())]
)
def test_two_processes_train_a_student_without_anchors(tmp_path, monkeypatch, arch, last_epoch):
    """Every parameter gets a gradient in every step, also those of auxiliary branches."""
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    make_data(tmp_path / "data")
    make_teacher(tmp_path / "teacher.safetensors", arch=named(arch))
    both(tmp_path, f"anchor_free {arch}")
    [folder] = run_folders(tmp_path / "runs")
    first, second = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert second.keys() - first.keys() == last_epoch
    assert all(line["bckd/class"] > 0 for line in (first, second))
    assert load_best(folder / "best.safetensors")[1]["arch_name"] == arch


@pytest.mark.slow
def test_two_processes_equal_one_that_accumulates(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    make_data(tmp_path / "data")
    make_teacher(tmp_path / "a.safetensors")
    both(tmp_path, "equal")
    alone = [sys.executable, "-m", __name__, "0", str(tmp_path), "alone"]
    shared = environment()
    del shared["WORLD_SIZE"]
    subprocess.run(alone, env=shared, cwd=ROOT, check=True, timeout=280)
    [two], [one] = (run_folders(tmp_path / name) for name in ("two", "one"))
    states = [load_checkpoint(folder / "last.pt").task for folder in (two, one)]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-5, msg=name)
    rows = [json.loads(line) for line in (two / "metrics.jsonl").read_text().splitlines()]
    kd = [sum(value for name, value in row.items() if name.startswith("fgd/")) for row in rows]
    assert kd[0] > 0
    assert kd[1] > 0
    assert kd[2] == 0  # past the stop epoch


@pytest.mark.slow
def test_two_processes_judge_a_share_each(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    data = make_data(tmp_path / "data")
    both(tmp_path, "judged")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert sorted(first["seen"] + second["seen"]) == list(range(8))
    assert first["seen"]
    assert second["seen"]
    parts = build_run(settings(data, tmp_path / "runs", train={"batch": 3}))
    alone = evaluate_on_val(parts, parts.ema.module).detections
    key = lambda one: (one["image_id"], -one["score"], one["bbox"])  # noqa: E731
    assert alone
    for found in (first["found"], second["found"]):
        assert sorted(found, key=key) == sorted(alone, key=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusing", "stage", "end"),
    [
        (0, "scores", "The teacher finds nothing"),
        (1, "scores", "finished"),  # the scores are those of the first process
        (0, "wiring", "Distillation would not work"),
        (1, "wiring", "Distillation would not work"),
    ],
)
def test_all_processes_refuse_a_teacher_or_none(tmp_path, monkeypatch, refusing, stage, end):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    make_data(tmp_path / "data")
    make_teacher(tmp_path / "a.safetensors")
    both(tmp_path, f"disagree {refusing} {stage}", timeout=100)
    ends = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert ends[0] == ends[1]
    assert ends[0].startswith(end)


@pytest.mark.slow
def test_a_run_goes_on_with_more_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    train = {"epochs": 3, "batch": 4, "save_minutes": 1e-6}
    config = settings(make_data(tmp_path / "data"), tmp_path / "runs", train=train)
    folder = interrupted(config, step=2)
    assert load_checkpoint(Path(folder, "last.pt")).position == [1, 1]
    both(tmp_path, "resumed")
    assert load_checkpoint(Path(folder, "last.pt")).position == [3, 0]
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.slow
def test_a_process_that_dies_ends_the_other_with_a_message(tmp_path):
    data = make_data(tmp_path / "data")
    command = [sys.executable, "-m", "tutelage", "train", "--data", data, "--device", "cpu"]
    command += ["--cfg", str(PICO), "--img-size", "64", "--batch-size", "4", "--json"]
    command += ["--epochs", "500", "--workers", "0", "--project", str(tmp_path / "runs")]
    shared = environment() | {"TUTELAGE_CACHE": str(tmp_path / "cache")}
    first, second = (
        subprocess.Popen(
            command,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    try:
        assert first.stdout is not None
        for line in first.stdout:
            if '"event": "step"' in line:
                break
        second.kill()
        _, told = first.communicate(timeout=60)
    finally:
        first.kill()
        second.kill()
    assert first.returncode == 1
    assert "Another process of this run has ended" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_devices_starts_them_all(tmp_path):
    data = make_data(tmp_path / "data")
    command = [sys.executable, "-m", "tutelage", "train", "--data", data, "--device", "cpu"]
    command += ["--cfg", str(PICO), "--img-size", "64", "--batch-size", "4"]
    command += ["--epochs", "1", "--workers", "0", "--project", str(tmp_path), "--name", "x"]
    shared = os.environ | {"PYTHONPATH": str(ROOT / "src"), "ACCELERATE_USE_CPU": "true"}
    ended = subprocess.run(
        [*command, "--devices", "2"], env=shared, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 × " in ended.stdout
    assert (tmp_path / "x" / "best.safetensors").exists()


if __name__ == "__main__":
    if sys.argv[3] == "whole":
        whole(sys.argv[2])
    elif sys.argv[3].startswith("anchor_free"):
        anchor_free(sys.argv[2], sys.argv[3].split()[1])
    elif sys.argv[3] == "resumed":
        resumed(sys.argv[2])
    elif sys.argv[3] == "equal":
        equal(sys.argv[2], "two", 8)
    elif sys.argv[3] == "alone":
        equal(sys.argv[2], "one", 4)
    elif sys.argv[3] == "judged":
        judged(int(sys.argv[1]), sys.argv[2])
    elif sys.argv[3].startswith("disagree"):
        _, number, part = sys.argv[3].split()
        disagree(int(sys.argv[1]), sys.argv[2], int(number), part)
    else:
        work(int(sys.argv[1]), *sys.argv[2:])
