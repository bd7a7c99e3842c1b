"""The events of a small run, and trackers that stand for real ones."""

import threading
from pathlib import Path

import cv2
import numpy as np

from tutelage.config.dump import dump
from tutelage.config.schema import Config
from tutelage.run.events import EpochDone, Evaluated, Finished, Notice, Planned, StepDone
from tutelage.structures import Losses
from tutelage.trackers.follow import with_trackers

STEPS = 10
APS, RATES = (0.4, 0.41, 0.42), (0.01, 0.009, 0.008)
BEST = {"AP": 0.41, "AP50": 0.77}
COST = {"teacher": 2.0, "extra": 3.0, "share": 0.1}
NAN = float("nan")


def config(*trackers, **distill):
    """Return settings with trackers."""
    return Config.model_validate({"data": "d.yaml", "run": {"track": trackers}, "distill": distill})


def run_folder(tmp_path, name="mine"):
    """Write what a run writes before its first step."""
    folder = tmp_path / "runs" / name
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(dump(config("tensorboard"), {}))
    picture(folder / "samples/train_batch0.jpg", 10)
    return folder


def picture(path, grey):
    cv2.imwrite(str(path), np.full((24, 32, 3), grey, np.uint8))


def events(folder, epochs=2, first=0, stop=None):
    """Yield a distilled run of ten steps an epoch, in steps of ten seconds.

    Args:
        folder: Its folder.
        epochs: Number of epochs.
        first: The epoch with which it goes on.
        stop: What to raise after the first step of the last epoch.
    """
    yield Planned((), str(folder), epochs, STEPS)
    for epoch in range(first, epochs):
        for step in range(1, STEPS + 1):
            losses = Losses({"box": 0.5 + epoch, "obj": 0.25}, {"fgd/relation": 2.0})
            yield StepDone(epoch, step, losses, 0.01, 0.4)
            if stop is not None and epoch == epochs - 1:
                raise stop
        means = {"box": 0.5 + epoch, "fgd/relation": 2.0}
        teaching = {"teacher_seconds": 1.0, "teacher_gib": 0.5, "asked": 1.0}
        kd = ({"fgd": 0.75}, {"fgd": 1.0}, {"fgd": 0.5})
        yield EpochDone(epoch, means, 5.0, RATES[epoch % 3], teaching, *kd)
        picture(folder / "samples/val_found.jpg", 20 + epoch)
        picture(folder / "samples/val_labels.jpg", 30)
        scores = {"AP": APS[epoch % 3], "AP50": 0.77, "APl": NAN}
        yield Evaluated(epoch, scores, best=True)
    (folder / "report.html").write_text("<p>report</p>")
    yield Notice("info", "Report")
    yield Finished(str(folder), BEST, epochs - 1, 60.0, COST)


class Clock:
    """Ten seconds pass between two looks."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        self.time += 10.0
        return self.time


def follow(names, source, **options):
    """Run through events with trackers; return what comes out."""
    return list(with_trackers(source, config(*names), now=Clock(), **options))


class Recorder:
    """A tracker that remembers its calls."""

    def __init__(self):
        self.calls, self.values, self.threads = [], {}, set()

    def start(self, run, stored):
        self.calls.append(("start", run, dict(stored)))
        return stored or {"id": "abc"}

    def log(self, values, step):
        self.threads.add(threading.current_thread())
        self.calls.append(("log", dict(values), step))
        for name, value in values.items():
            self.values.setdefault(name, []).append((step, value))

    def log_images(self, images, epoch):
        self.calls.append(("log_images", dict(images), epoch))

    def log_file(self, path):
        self.calls.append(("log_file", Path(path).name))

    def finish(self, ending):
        self.calls.append(("finish", ending))

    def named(self, name):
        return [call[1:] for call in self.calls if call[0] == name]
