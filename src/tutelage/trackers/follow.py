"""The events of a run, which trackers get to see on their way."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.config.schema import Config
from tutelage.files import atomic_write_text
from tutelage.run.events import (
    EpochDone,
    Evaluated,
    Event,
    Finished,
    Notice,
    Planned,
    Stage,
    StepDone,
)
from tutelage.trackers.backends import check_trackers, make_trackers
from tutelage.trackers.background import BackgroundCalls
from tutelage.trackers.tracker import Ending, TrackedRun, Tracker
from tutelage.trackers.values import (
    epoch_values,
    evaluation_values,
    final_values,
    settings_of,
    step_values,
)

STORED = "trackers.json"  # in the run folder: what the run is called in each service
EVERY, INTERVAL = 10, 5.0  # steps and seconds between two that are logged, at least
BEGINNING = 10.0  # seconds for the services before the first step, which forks loader processes
END, STOP = 30.0, 5.0  # seconds to wait at the end of a run, and of one that was stopped
SHORT = 1.0  # seconds of waiting that are not told


def with_trackers(
    events: Iterable[Event],
    config: Config,
    *,
    resumed: bool = False,
    group: str = "",
    dry_run: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Generator[Event, None, None]:
    """Yield the events of a run; the trackers of ``run.track`` get their values and files.

    Whatever fails in a tracker costs its own values alone: a notice says so, once. If the run is
    stopped, its runs in the services are, too, and go on when it is resumed.

    Args:
        events: The events. If a report is written, it is there before the last event.
        config: The settings.
        resumed: Whether the run goes on in its folder.
        group: The name of the comparison that the run is a part of.
        dry_run: Check that the trackers can be used, and track nothing.
        now: A clock in seconds.

    Raises:
        MissingExtraError: The package of a tracker is not installed; before anything is trained.
        ConfigError: A tracker would ask for credentials.
    """
    first = os.environ.get("RANK", "0") == "0"  # of several processes
    names = tuple(dict.fromkeys(config.run.track)) if first else ()
    if not names or dry_run:
        check_trackers(names)
        yield from events
        return
    trackers = make_trackers(names)
    tracking: Tracking | None = None
    try:
        for event in events:
            if isinstance(event, Planned):
                yield Stage(f"starting {', '.join(names)}")
                tracking = Tracking(trackers, Path(event.folder), group, resumed, now)
                tracking.wait(BEGINNING)
            if tracking:
                tracking.follow(event)
                yield from tracking.warnings()
                if isinstance(event, Finished):
                    yield from tracking.end()
                    tracking = None
            yield event
    except BaseException as error:
        if tracking:
            stopped = isinstance(error, KeyboardInterrupt | GeneratorExit)
            tracking.stop("stopped" if stopped else "failed")
        raise


def with_tracked_report(events: Iterable[Any], last: type, config: Config) -> Iterator[Any]:
    """Yield the events of a comparison; its report becomes a run of its own, named as its folder.

    Args:
        events: The events; the report is there before the last.
        last: The type of the event that ends them; it has a ``folder``.
        config: The settings.
    """
    for event in events:
        if config.run.track and isinstance(event, last):
            folder = Path(event.folder)
            resumed = (folder / STORED).exists()  # the same command shows the same comparison
            tracking = Tracking(make_trackers(config.run.track), folder, folder.name, resumed)
            tracking.log_report()
            yield from tracking.end()
        yield event


class Tracking:
    """The trackers of one run.

    Args:
        trackers: The trackers by name, new ones.
        folder: The run folder.
        group: The comparison that the run is a part of.
        resumed: Whether the run goes on in its folder.
        now: A clock in seconds.
    """

    def __init__(
        self,
        trackers: Mapping[str, Tracker],
        folder: Path,
        group: str = "",
        resumed: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trackers, self._now, self._resumed = trackers, now, resumed
        self._folder, self._group = folder, group
        self._steps = self._epoch = 0
        self._logged = (-math.inf, -math.inf)  # step and time
        self._warned: set[str] = set()
        self._pictures: dict[Path, int] = {}  # when they were written
        self._lock = threading.Lock()
        self._stored = _read(folder / STORED) if resumed else {}
        self._calls = {name: BackgroundCalls(name, partial(self._start, name)) for name in trackers}

    def wait(self, seconds: float) -> None:
        """Wait until all trackers have begun or failed to, but no longer than so."""
        deadline = time.monotonic() + seconds
        for calls in self._calls.values():
            calls.wait_for_first(max(0.0, deadline - time.monotonic()))

    def follow(self, event: Event) -> None:
        """Hand on what an event says. Waits for no tracker and no device."""
        match event:
            case Planned():
                self._steps = event.steps
                if not self._resumed:
                    self._put_pictures("train_batch*.jpg", 1)
            case StepDone():
                self._follow_step(event)
            case EpochDone():
                self._epoch = event.epoch + 1
                self._put(lambda tracker: tracker.log(epoch_values(event), event.epoch + 1))
            case Evaluated():
                self._put(lambda tracker: tracker.log(evaluation_values(event), event.epoch + 1))
                if event.best:
                    self._put_pictures("val_*.jpg", event.epoch + 1)
            case Finished():
                self._put(lambda tracker: tracker.log(final_values(event), self._epoch))
                self.log_report()
            case _:
                pass

    def log_report(self) -> None:
        """Hand on the report, if there is one."""
        if (report := self._folder / "report.html").exists():
            self._put(lambda tracker: tracker.log_file(report))

    def warnings(self) -> Iterator[Notice]:
        """Yield a warning for each tracker that has failed for the first time."""
        for name, calls in self._calls.items():
            if calls.trouble and name not in self._warned:
                self._warned.add(name)
                text = f"{name} does not get all of this run: {calls.trouble}"
                yield Notice("warning", text, "R41")

    def end(self) -> Iterator[Notice | Stage]:
        """End the runs of the trackers after all that is waiting; tell what they did not get."""
        self._close("finished")
        deadline = time.monotonic() + END
        if slow := [name for name, calls in self._calls.items() if not calls.join(SHORT)]:
            yield Stage(f"sending the rest to {', '.join(slow)}")
        self._join(deadline)
        yield from self.warnings()
        for name, calls in self._calls.items():
            dropped, failed, waiting = calls.counts()
            missing = {
                f"could not be sent within {END:g} seconds": waiting,
                "could not be written": failed,
                "(steps, pictures) were left out, as it was slower than the run": dropped,
            }
            texts = [f"{count} entries {why}" for why, count in missing.items() if count]
            if texts:
                yield Notice("info", f"{name}: {'; '.join(texts)}")

    def stop(self, ending: Ending) -> None:
        """End the runs of the trackers early, within seconds."""
        self._close(ending)
        self._join(time.monotonic() + STOP)

    def _start(self, name: str) -> None:
        """Begin the run of a tracker, or go on with it, and remember what it is called there."""
        run = TrackedRun(self._folder, self._group, settings_of(self._folder), self._resumed)
        identity = self._trackers[name].start(run, self._stored.get(name, {}))
        with self._lock:
            self._stored[name] = dict(identity)
            atomic_write_text(self._folder / STORED, json.dumps(self._stored, indent=1) + "\n")

    def _close(self, ending: Ending) -> None:
        self._put(lambda tracker: tracker.finish(ending))
        for calls in self._calls.values():
            calls.close()

    def _join(self, deadline: float) -> None:
        for calls in self._calls.values():
            calls.join(max(0.0, deadline - time.monotonic()))

    def _follow_step(self, event: StepDone) -> None:
        step, seconds = event.epoch * self._steps + event.step, self._now()
        last_step, last_seconds = self._logged
        if step - last_step >= EVERY and seconds - last_seconds >= INTERVAL:
            self._logged = (step, seconds)
            # read in the tracker's thread: reading losses waits for the device
            self._put(lambda tracker: tracker.log(step_values(event), step), optional=True)

    def _put_pictures(self, pattern: str, epoch: int) -> None:
        """Log the sample images that are new. They are read now: later ones take their place."""
        pictures: dict[str, bytes] = {}
        with suppress(OSError):
            for path in sorted((self._folder / "samples").glob(pattern)):
                written = path.stat().st_mtime_ns
                if self._pictures.get(path) != written:
                    self._pictures[path] = written
                    pictures[f"samples/{path.stem}"] = path.read_bytes()
        if pictures:
            self._put(lambda tracker: tracker.log_images(pictures, epoch), optional=True)

    def _put(self, call: Callable[[Tracker], None], *, optional: bool = False) -> None:
        for name, tracker in self._trackers.items():
            self._calls[name].put(partial(call, tracker), optional=optional)


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Return what the run is called in each service; nothing if that was not stored."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
