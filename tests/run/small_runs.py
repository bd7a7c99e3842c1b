"""Runs of seconds: eight pictures of 64 px, a pico graph."""

import zlib
from pathlib import Path

import torch

from tests.data.write_dataset import NAMES, make_scenes
from tests.models.pico import PICO, WIDE
from tutelage.config.schema import Config
from tutelage.models.build import build
from tutelage.run.events import Notice, Planned, StepDone
from tutelage.run.run import run_training
from tutelage.weights.store import save_best

CHECKPOINT = Path(__file__).parent.parent / "golden/checkpoints/yolov7-tiny-w025-stripped.pt"


def make_data(folder):
    """Write the pictures, of three shapes; val is the same."""
    return str(make_scenes(folder, 8, ((64, 48), (48, 64), (64, 32))))


def make_teacher(path, names=NAMES, arch=WIDE, seed=0):
    """Write an untrained teacher; each file name and seed has weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(zlib.crc32(Path(path).stem.encode()) + seed)
        net = build(arch, names)
    meta = {
        "arch": net.arch,
        "arch_name": net.arch_name,
        "names": list(names),
        "image_size": 64,
    }
    save_best(path, net.state_dict(), meta)
    return str(path)


def settings(data, project, **changes):
    """Return settings of one epoch of two steps."""
    values = {
        "data": data,
        "model": {"arch": str(PICO)},
        "train": {
            "image_size": 64,
            "batch": 4,
            "nominal_batch": 4,
            "epochs": 1,
            "device": "cpu",
            "workers": 0,
            "threads": 1,
        },
        "run": {"project": str(project)},
    }
    for section, given in changes.items():
        values[section] = values.get(section, {}) | given if isinstance(given, dict) else given
    return Config.model_validate(values)


def run(config, **options):
    """Return all events of a run."""
    return list(run_training(config, **options))


def last(events, kind):
    return [event for event in events if isinstance(event, kind)][-1]


def told(events):
    """Return all notices as one text."""
    return "\n".join(event.text for event in events if isinstance(event, Notice))


def interrupted(config, epoch=1, step=1):
    """Return the folder of a run that died after a step, before anything was saved for it."""
    folder = ""
    for event in run_training(config):
        folder = event.folder if isinstance(event, Planned) else folder
        if isinstance(event, StepDone) and (event.epoch, event.step) == (epoch, step):
            break
    return folder
