"""What a tracker is: one run in one tracking service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

PROJECT = "tutelage"  # where the service sorts runs, if the user's environment names no place
Ending = Literal["finished", "stopped", "failed"]


class TrackedRun(NamedTuple):
    """A run as the trackers see it.

    Attributes:
        folder: The run folder.
        group: The comparison that it is a part of; empty without one.
        settings: All settings by dotted name: numbers, bools, texts.
        resumed: Whether the run goes on after it was stopped.
    """

    folder: Path
    group: str
    settings: Mapping[str, Any]
    resumed: bool

    @property
    def name(self) -> str:
        """The name of the run: that of its folder."""
        return self.folder.resolve().name


class Tracker(Protocol):
    """One run in one tracking service. All methods are called from one thread.

    Those that Accelerate's ``GeneralTracker`` has too have the names that they have there. Whatever
    they raise is told once and harms nothing.
    """

    def start(self, run: TrackedRun, stored: Mapping[str, str]) -> Mapping[str, str]:
        """Begin a run in the service, or go on with one.

        Args:
            run: The run.
            stored: What this method returned when the run began; empty for a new one.

        Returns:
            What identifies it in the service.
        """
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log finite numbers by name.

        Args:
            values: The numbers.
            step: Batches since the beginning for names that begin with ``step/``, else the epoch,
                counted from 1.
        """
        ...

    def log_images(self, images: Mapping[str, bytes], epoch: int) -> None:
        """Log JPEG files by name."""
        ...

    def log_file(self, path: Path) -> None:
        """Keep a file with the run, as it is."""
        ...

    def finish(self, ending: Ending) -> None:
        """Send what is left and end the run; one that was stopped may go on later."""
        ...
