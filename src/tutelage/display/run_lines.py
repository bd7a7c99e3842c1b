"""What is told about a run, as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tutelage.display.formatting import duration, score
from tutelage.version import __version__

if TYPE_CHECKING:
    from tutelage.run.events import Evaluated, Finished, Notice, Planned, Stage


def headline() -> str:
    """Return the first line of a run."""
    return f"tutelage {__version__}"


def notice_line(event: Notice) -> str:
    """Return a notice as a line: ``warning [T21]: the teacher …``."""
    mark = f" [{event.code}]" if event.code else ""
    return f"{event.level}{mark}: {event.text}" if event.level == "warning" else event.text


def stage_line(event: Stage) -> str:
    """Return a stage as a line: ``evaluating the teacher …``."""
    return f"{event.text} …"


def plan_lines(plan: Planned) -> list[str]:
    """Return the plan as aligned rows."""
    width = label_width(plan)
    return [f" {label:<{width}}  {text}" for label, text in plan.rows]


def found_something(event: Evaluated) -> bool:
    """Whether an evaluation is the best so far, and not merely the first that found nothing."""
    return event.best and event.scores.get("AP", 0.0) > 0


def finish_lines(event: Finished) -> list[str]:
    """Return the result and the next command."""
    took = duration(event.seconds)
    if "AP" not in event.best:
        return [f" done · {took} · {event.folder}"]
    ap50 = f" (AP50 {score(event.best['AP50'])})" if "AP50" in event.best else ""
    ap = f"AP {score(event.best['AP'])}{ap50}"
    best = f" best {ap} at epoch {event.best_epoch + 1}"
    if not event.best["AP"] > 0:
        best = f" {ap}: no object of the val split was found"
    return [
        f"{best} · {took} · {event.folder}/best.safetensors",
        *teaching_lines(event.teaching),
        f" next  tutelage val {event.folder}",
    ]


def teaching_text(cost: Mapping[str, float]) -> str:
    """Return what the teacher cost in an epoch, in few words; empty if it was not needed."""
    if "asked" not in cost:
        return f"teacher {duration(cost['teacher_seconds'])}" if "teacher_seconds" in cost else ""
    if not cost["asked"]:
        return "teacher stored"
    return f"teacher {duration(cost.get('teacher_seconds', 0.0))}"


def teaching_lines(cost: Mapping[str, float]) -> list[str]:
    """Return what the teachers cost in a run; nothing without one."""
    if not cost:
        return []
    epochs = f"{cost['asked']:.2g} of {cost['epochs']} epochs"
    return [
        f" teacher  {duration(cost['extra'])}, {100 * cost['share']:.0f} % on top of the rest: "
        f"asked {duration(cost['teacher'])} in {epochs}, checks and weights "
        f"{duration(cost['measuring'])}, stored answers {duration(cost['store'])}"
    ]


def combine_kd_terms(losses: Mapping[str, float]) -> dict[str, float]:
    """Return the detection terms, and the sum of all distillation terms (``method/term``)."""
    terms = {name: value for name, value in losses.items() if "/" not in name}
    distillation = [value for name, value in losses.items() if "/" in name]
    return {**terms, "kd": sum(distillation)} if distillation else terms


def label_width(plan: Planned) -> int:
    """Return the width of the longest label."""
    return max((len(label) for label, _ in plan.rows), default=0)
