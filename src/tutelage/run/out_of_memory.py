"""How much memory there is, and what to tell when it has run out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import Tensor

from tutelage.config.schema import Config
from tutelage.errors import TrainingError, UserError, is_out_of_memory, loader_error
from tutelage.setup.build import RunParts
from tutelage.train.schedule import Position

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")


class DeviceMemory(NamedTuple):
    """Bytes of a device: used by anyone, and all of it."""

    used: int
    total: int


class MemoryContext:
    """A run as far as it has come, for the message when memory runs out.

    Args:
        config: Its settings.
        parts: Its parts, as soon as there are any.
        at: The last step that was done; None: none yet.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.parts: RunParts | None = None
        self.at: Position | None = None


@contextmanager
def told_when_out(use: MemoryContext) -> Iterator[None]:
    """Turn running out of memory into an error that says what would fit.

    Raises:
        TrainingError: Memory ran out, here or in a loader process; the cause is chained.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (fault := loader_error(error)) is not None:
            raise fault from error
        if not is_out_of_memory(error):
            raise
        raise ran_out(use) from error


def ran_out(use: MemoryContext) -> TrainingError:
    """Return what to tell: the device, the step, the batch, who holds how much, what would fit."""
    config, parts, at = use.config, use.parts, use.at
    device = parts.accelerator.device if parts else torch.device("cpu")
    who = f"GPU {device.index or 0}" if device.type == "cuda" else "The device"
    who = "The machine" if device.type == "cpu" else who
    place = "before the first step"
    if at is not None and parts is not None:
        place = f"at step {at.batch + 1}" + (f" of epoch {at.epoch + 1}" if at.epoch else "")
        if at.batch >= parts.plan.steps:
            place = f"in the evaluation after epoch {at.epoch + 1}"
    batch = config.train.batch
    what = f"{who} ran out of memory {place} with batch {batch}{_shares(parts, device)}."
    ways = [_smaller(parts, batch), f"--img-size below {config.train.image_size}"]
    if device.type == "cuda" and parts is not None and parts.precision == "fp32":
        ways.append("--precision bf16")
    if device.type == "cpu" and config.train.workers != 0:
        ways.append("fewer --workers")
    tried = ", or ".join(way for way in ways if way)
    return TrainingError(what, fix=f"Try {tried}. The run folder is intact.", code="R13")


def _smaller(parts: RunParts | None, batch: int | str) -> str:
    """Return the flag with half the batch, as far as the processes allow."""
    processes = parts.accelerator.num_processes if parts else 1
    if isinstance(batch, str) or batch // 2 < processes:
        return ""
    half = batch // 2 - (batch // 2) % processes
    if parts is None:
        return f"--batch-size {half}"
    return f"--batch-size {half} (gradients still accumulate to {parts.plan.nominal_batch})"


def _shares(parts: RunParts | None, device: torch.device) -> str:
    if parts is None:
        return ""
    student = parts.bare.student
    trained = 3 if parts.config.optim.name == "sgd" else 4  # itself, gradient, momentum(s)
    own = trained * size_of(parts.bare.parameters()) + size_of(student.buffers())
    words = [f"student {own / GIB:.1f}"]
    if parts.teaching is not None:
        teachers = size_of(tensor for _, tensor in parts.teaching.panel.state())
        words.append(f"teacher {teachers / GIB:.1f}")
    words.append("activations the rest")
    used, total = room(device)
    return f" ({used / GIB:.1f} of {total / GIB:.1f} GiB; {', '.join(words)})"


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def room(device: torch.device) -> DeviceMemory:
    """Return how much of a device's memory is used, and how much there is.

    On the CPU that is what this process may have: the machine's memory, or that of its container.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceMemory(total - free, total)
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return DeviceMemory(torch.mps.driver_allocated_memory(), total)
    machine = psutil.virtual_memory()
    inside = _container()
    return min((DeviceMemory(machine.total - machine.available, machine.total), *inside), key=_free)


def _free(room: DeviceMemory) -> int:
    return room.total - room.used


def _container() -> tuple[DeviceMemory, ...]:
    """Return the memory of the container that this process runs in, if it has a limit (cgroup)."""
    try:
        total = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # none, or no limit ("max")
        return ()
    return (DeviceMemory(used - int(stat.get("inactive_file", 0)), total),)


def highest() -> int:
    """Return the most bytes of main memory that this process has ever held."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def held_now() -> int:
    """Return the bytes that this process holds in main memory."""
    return int(psutil.Process(os.getpid()).memory_info().rss)
