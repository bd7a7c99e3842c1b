"""Small real tasks, teachers and batches for the tests of the training code."""

import torch

from tests.models.pico import PICO, WIDE
from tutelage.config.schema import LossConfig, MethodConfig
from tutelage.distill import Need, build_methods, pair
from tutelage.models.build import build, load
from tutelage.setup.distillation import bind_methods, load_teachers
from tutelage.structures import Batch, Targets
from tutelage.teachers import NativeTeacher, Teachers
from tutelage.training.task import Task

NAMES = ("a", "b", "c")


def make_task(method="fgd", *, student=PICO, teacher=WIDE, seed=0, **options):
    """Return a distilled task and its teachers (one), at random weights."""
    torch.manual_seed(seed)
    net, big = load(student, names=NAMES), load(teacher, names=NAMES)
    pairs = pair(net, big)
    methods = build_methods([MethodConfig(name=method, **options)], [pairs.channels])
    criterion = net.head.criterion(LossConfig(), image_size=64)
    task = Task(net, criterion, methods, None, [tap.key for tap in pairs.student])
    needed = any(Need.PREDICTIONS in one.needs for one in methods.values())
    return task, Teachers([NativeTeacher(big, [tap.key for tap in pairs.teacher])], [needed])


def make_setup(config, names):
    """Return the setup of a distillation for a student of ``names`` at random weights."""
    teachers = load_teachers(config, torch.device("cpu"))
    return bind_methods(config, build("yolov7-tiny@0.125", names), teachers)


def make_batch(images=2, size=64, boxes=3, seed=0):
    """Return a floating batch of noise with ``boxes`` boxes per image."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.rand(images * boxes, 2, generator=g) * size * 0.6 + size * 0.2
    half = torch.rand(images * boxes, 2, generator=g) * size * 0.15 + size * 0.04
    targets = Targets(
        torch.arange(images).repeat_interleave(boxes),
        torch.randint(0, 3, (images * boxes,), generator=g),
        torch.cat([centre - half, centre + half], 1),
    )
    pixels = torch.rand(images, 3, size, size, generator=g).contiguous(
        memory_format=torch.channels_last
    )
    return Batch(pixels, targets, torch.arange(images))


def storages(tensors):
    """Return the memory addresses of tensors; unlike ids, they are shared by all views."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}
