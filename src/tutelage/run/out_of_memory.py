"""Memory of a device, and the error of a run that has none left."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import Tensor

from tutelage.config.schema import Config
from tutelage.errors import TrainingError, UserError, is_out_of_memory, loader_error
from tutelage.setup.build import RunParts
from tutelage.training.schedule import Position

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")


class DeviceMemory(NamedTuple):
    """Bytes of a device: used by all processes, and in total."""

    used: int
    total: int


@dataclass
class MemoryContext:
    """State of a run, for the message when memory runs out; None: not yet."""

    config: Config
    parts: RunParts | None = None
    position: Position | None = None  # after the last step


@contextmanager
def explain_out_of_memory(context: MemoryContext) -> Iterator[None]:
    """Replace an out-of-memory error by one that says which settings need less.

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
        raise out_of_memory_error(context) from error


def out_of_memory_error(context: MemoryContext) -> TrainingError:
    """Return the error: device, step, batch, memory of each network, settings that need less."""
    config, parts, position = context.config, context.parts, context.position
    device = parts.accelerator.device if parts else torch.device("cpu")
    names = {"cuda": f"GPU {device.index or 0}", "cpu": "The machine"}
    where = "before the first step"
    if position is not None and parts is not None:
        epoch, step = position
        where = f"at step {step + 1}" + (f" of epoch {epoch + 1}" if epoch else "")
        if step >= parts.schedule.steps:
            where = f"in the evaluation after epoch {epoch + 1}"
    batch = config.train.batch
    advice = [_smaller_batch(parts, batch), f"--img-size below {config.train.image_size}"]
    if device.type == "cuda" and parts is not None and parts.precision == "fp32":
        advice.append("--precision bf16")
    if device.type == "cpu" and config.train.workers != 0:
        advice.append("fewer --workers")
    return TrainingError(
        f"{names.get(device.type, 'The device')} ran out of memory {where} with batch {batch}"
        f"{_describe_memory(parts, device)}.",
        fix=f"Try {', or '.join(filter(None, advice))}. The run folder is intact.",
        code="R13",
    )


def _smaller_batch(parts: RunParts | None, batch: int | str) -> str:
    """Return the flag with half the batch; empty if that is less than an image per process."""
    processes = parts.accelerator.num_processes if parts else 1
    if isinstance(batch, str) or batch // 2 < processes:
        return ""
    half = batch // 2 - (batch // 2) % processes
    if parts is None:
        return f"--batch-size {half}"
    return f"--batch-size {half} (gradients still accumulate to {parts.schedule.nominal_batch})"


def _describe_memory(parts: RunParts | None, device: torch.device) -> str:
    if parts is None:
        return ""
    task = parts.unwrapped_task
    copies = 3 if parts.config.optim.name == "sgd" else 4  # weights, gradients, momentum(s)
    student = copies * count_bytes(task.parameters()) + count_bytes(task.student.buffers())
    words = [f"student {student / GIB:.1f}"]
    if parts.distillation is not None:
        teachers = count_bytes(tensor for _, tensor in parts.distillation.teachers.state())
        words.append(f"teacher {teachers / GIB:.1f}")
    words.append("activations the rest")
    used, total = memory_of(device)
    return f" ({used / GIB:.1f} of {total / GIB:.1f} GiB; {', '.join(words)})"


def count_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the size of tensors in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def memory_of(device: torch.device) -> DeviceMemory:
    """Return used and total memory of a device; on the CPU of the machine or its container."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceMemory(total - free, total)
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return DeviceMemory(torch.mps.driver_allocated_memory(), total)
    machine = psutil.virtual_memory()
    limits = (DeviceMemory(machine.total - machine.available, machine.total), *_container())
    return min(limits, key=lambda memory: memory.total - memory.used)


def _container() -> tuple[DeviceMemory, ...]:
    """Return the memory of the container of this process (cgroup), if it has a limit."""
    try:
        total = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # none, or no limit ("max")
        return ()
    return (DeviceMemory(used - int(stat.get("inactive_file", 0)), total),)


def peak_memory() -> int:
    """Return the peak main memory of this process in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def current_memory() -> int:
    """Return the main memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)
