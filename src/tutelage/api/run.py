"""A run as an object: its folder, read when it is asked."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from tutelage.api.metrics import Metrics
from tutelage.config.schema import Config
from tutelage.display.formatting import score
from tutelage.display.html_table import html_table
from tutelage.errors import WeightsError
from tutelage.evaluation.coco import METRICS
from tutelage.evaluation.scores import ClassScore
from tutelage.models.weight_file import weight_file
from tutelage.reports import Report, write_report
from tutelage.reports.charts import ap_curves
from tutelage.reports.results import group_by_seed
from tutelage.reports.runs import RunFiles, read_run
from tutelage.reports.svg import to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunScores(NamedTuple):
    """The scores of the best epoch on the val images, each 0..1 or NaN without objects.

    Attributes:
        AP: Mean over IoU 0.50:0.95 and classes; the others as named by COCO.
        per_class: By class name.
        images: Number of images.
        instances: Number of objects in them.
    """

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    per_class: dict[str, ClassScore]
    images: int
    instances: int


class Run:
    """A training run, finished or stopped. Wherever a model is asked for, a run will do.

    Args:
        folder: The run folder.

    Raises:
        ConfigError: It is no run folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        read_run(self.folder)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def best(self) -> Path:
        """The weights of the best epoch.

        Raises:
            WeightsError: The run was stopped before its first evaluation.
        """
        return weight_file(self.folder)

    @property
    def config(self) -> Config:
        """All its settings."""
        return self._files.config

    @property
    def metrics(self) -> Metrics:
        """A row per epoch: losses by name, AP, learning rate, what the teacher cost."""
        return Metrics(self._files.rows)

    @property
    def scores(self) -> RunScores:
        """The scores of the best epoch on the val images.

        Raises:
            WeightsError: The run was stopped before its first evaluation.
        """
        found = self._files.scores
        if "AP" not in found:
            raise WeightsError(
                f"{self.folder} has no scores.",
                fix="A run folder has them after its first evaluation.",
                code="W22",
            )
        classes = {
            name: ClassScore(_number(each["AP"]), _number(each["AP50"]), each["instances"])
            for name, each in found["per_class"].items()
        }
        values = {name: _number(found.get(name)) for name in METRICS}
        return RunScores(
            **values, per_class=classes, images=found["images"], instances=found["instances"]
        )

    def plot(self) -> Figure:
        """Return a figure of AP on val by epoch, with the teacher's as a dashed line."""
        files = self._files
        known = (teacher.get("scores", {}).get("AP") for teacher in files.teachers)
        teacher = max((ap for ap in known if ap is not None), default=None)
        return ap_curves(group_by_seed([files]), teacher)

    def report(self, to: str | Path | None = None) -> Report:
        """Write its report; see :func:`tutelage.report`."""
        return write_report([self.folder], to)

    @property
    def _files(self) -> RunFiles:
        return read_run(self.folder)

    def __fspath__(self) -> str:
        """Return the path of its folder."""
        return str(self.folder)

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same folder."""
        return isinstance(other, Run) and self.folder.resolve() == other.folder.resolve()

    def __hash__(self) -> int:
        """Return the hash of its folder."""
        return hash(self.folder.resolve())

    def __repr__(self) -> str:
        """Return its folder and its AP."""
        ap = self._files.scores.get("AP")
        return f"Run({str(self.folder)!r}{'' if ap is None else f', AP {score(ap)}'})"

    def _repr_html_(self) -> str:
        """Return its scores and its curve."""
        head = Markup("<b>{}</b>").format(str(self.folder))
        if "AP" not in self._files.scores:
            return str(Markup("<div>{}: not evaluated yet</div>").format(head))
        found = self.scores
        rows = [["class", "objects", "AP", "AP50"]]
        rows.append(["all", str(found.instances), score(found.AP), score(found.AP50)])
        for name, each in found.per_class.items():
            rows.append([name, str(each.instances), score(each.AP), score(each.AP50)])
        curve = to_svg(self.plot(), "AP on val by epoch")
        return str(
            Markup('<div>{}{}<div style="max-width:36em">{}</div></div>').format(
                head, html_table(rows), curve
            )
        )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
