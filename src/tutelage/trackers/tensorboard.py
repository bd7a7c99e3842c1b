"""TensorBoard: event files in the run folder, ``<run>/tensorboard``. Nothing is sent."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto import summary_pb2
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from tutelage.trackers.tracker import Ending, TrackedRun

Summary: Any = vars(summary_pb2)["Summary"]  # generated, without types
FOLDER = "tensorboard"  # within the run folder


class TensorBoard:
    """A run as event files; a resumed run adds a file to them."""

    def __init__(self) -> None:
        self._writer: Any = None

    def start(self, run: TrackedRun, stored: Mapping[str, str]) -> Mapping[str, str]:
        """Open an event file; those of an earlier run in this folder are removed."""
        folder = run.folder / FOLDER
        if not run.resumed:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        self._writer = SummaryWriter(str(folder))
        if not stored:
            # for the HPARAMS tab; add_hparams would make a second run. The metric is but a name
            for summary in hparams(dict(run.settings), {"best/AP": 0.0}):
                self._add(summary)
        return {"folder": FOLDER}

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def log_images(self, images: Mapping[str, bytes], epoch: int) -> None:
        """Write the JPEG files as they are: TensorBoard shows them without another encoding."""
        for name, jpeg in images.items():
            width, height = Image.open(io.BytesIO(jpeg)).size
            picture = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=jpeg
            )
            self._add(Summary(value=[Summary.Value(tag=name, image=picture)]), epoch)

    def log_file(self, path: Path) -> None:
        """Write where the file lies: TensorBoard keeps no files."""
        self._writer.add_text(path.stem, f"`{path}`")

    def finish(self, ending: Ending) -> None:  # noqa: ARG002  (event files have no state)
        """Close the event file."""
        self._writer.close()

    def _add(self, summary: Any, step: int | None = None) -> None:
        self._writer.file_writer.add_summary(summary, step)
