"""Warns of training images that became unreadable during the run."""

from __future__ import annotations

from pathlib import Path

from tutelage.data import read_image
from tutelage.data.dataset import DetectionDataset
from tutelage.data.unlabelled import MixedDataset
from tutelage.errors import DataError
from tutelage.run.events import EpochDone, Event, Notice, StepDone

LISTED = 10  # images in one message


class LostImageMonitor:
    """Warns of each unreadable training image once."""

    def __init__(self, dataset: DetectionDataset | MixedDataset) -> None:
        self._dataset = dataset
        self._reported: set[Path] = set()

    def check(self, event: Event) -> Notice | None:
        """Report unreadable images that are new."""
        if not isinstance(event, StepDone | EpochDone):
            return None
        new = [path for path in self._dataset.unreadable if path not in self._reported]
        if not new:
            return None
        self._reported.update(new)
        more = f"; and {len(new) - LISTED} more" if new[LISTED:] else ""
        reasons = "; ".join(map(_why_unreadable, new[:LISTED]))
        text = f"{reasons}{more}. Other images are used instead."
        return Notice("warning", text, "D27")


def _why_unreadable(path: Path) -> str:
    try:
        read_image(path)
    except DataError as error:
        return error.what
    return f"{path} is not as it was when it was scanned"
