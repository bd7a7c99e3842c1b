"""Two processes on the CPU (gloo), with DDP's default flags."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from tests.train.parts import make_batch, make_task
from tutelage.teachers import fingerprint

ROOT = Path(__file__).parents[2]
STEPS = 3


def work(rank, folder):
    """Train three steps with a teacher and three without, and write down what came out."""
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from tutelage.config.schema import OptimConfig
    from tutelage.train.ema import make_ema
    from tutelage.train.guide import Guide
    from tutelage.train.loop import fit
    from tutelage.train.optim import make_optimizer
    from tutelage.train.plan import Fade, Plan

    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    task, panel = make_task(seed=rank)  # DDP must bring them together
    guide = Guide(panel, [[0, 1, 2]])
    optimizer = make_optimizer(task, OptimConfig(lr=0.01))
    batches = [make_batch(seed=s) for s in range(2 * STEPS)]
    loader = DataLoader(batches, batch_size=1, collate_fn=lambda only: only[0])
    wrapped, optimizer, loader = accelerator.prepare(task, optimizer, loader)
    assert isinstance(wrapped, DistributedDataParallel)
    assert not wrapped.find_unused_parameters
    ema = make_ema(task.student)
    plan = Plan(epochs=2, steps=STEPS, batch=4, nominal_batch=8, fades={"fgd": Fade(stop_epoch=1)})
    losses = [
        {name: float(value) for group in event.losses for name, value in group.items()}
        for event in fit(accelerator, wrapped, guide, optimizer, ema, loader, plan)
        if hasattr(event, "losses")
    ]
    state = {
        "parameters": fingerprint((n, p.data) for n, p in task.named_parameters()),
        "losses": losses,
    }
    torch.save(state, f"{folder}/{rank}.pt")
    accelerator.end_training()


@pytest.mark.slow
def test_two_processes_keep_equal_weights(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "src"))),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # no slow look-ups
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(rank), str(tmp_path)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=280) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["parameters"] == second["parameters"]
    assert len(first["losses"]) == 2 * STEPS
    assert first["losses"] != second["losses"]  # each saw its own images
    assert "fgd/relation" in first["losses"][0]
    assert "off" in first["losses"][-1]


if __name__ == "__main__":
    work(int(sys.argv[1]), sys.argv[2])
