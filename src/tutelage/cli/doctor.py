"""``tutelage doctor``."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tutelage.cli import options as o
from tutelage.cli.formatting import score
from tutelage.cli.tables import columns, say
from tutelage.errors import TeacherError
from tutelage.plain import plain

if TYPE_CHECKING:
    from tutelage.doctor.findings import DoctorFinding, Entry, LayerPairReport, MethodReport


def doctor(
    student: Annotated[
        str | None,
        o.value(
            "--student",
            "<model>",
            "Architecture, its yaml, or weights [dim]\\[yolov7-tiny][/]",
            o.WHAT,
        ),
    ] = None,
    data: o.Data = None,
    config: o.RunFile = None,
    hyp: o.Hyp = None,
    preset: o.Preset = None,
    single_cls: o.SingleClass = False,
    teacher: Annotated[
        list[str] | None,
        o.value("--teacher --teacher-weights", "<model>", "Who is to teach (repeatable)", o.KD),
    ] = None,
    method: o.Methods = None,
    all_methods: Annotated[
        bool, o.switch("--all-methods", "Measure every method that fits", o.KD)
    ] = False,
    student_kd_layers: o.StudentLayers = None,
    teacher_kd_layers: o.TeacherLayers = None,
    batch_size: o.BatchSize = None,
    img_size: o.ImageSize = None,
    device: o.Device = None,
    seed: o.Seed = None,
    precision: o.Precision = None,
    freeze: o.Freeze = None,
    set: o.Sets = None,
    json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Examine a teacher, a student and data before a run: nothing is trained or written."""
    given = locals()
    from tutelage.cli.settings import resolve
    from tutelage.models.catalog import is_named
    from tutelage.models.weight_file import SUFFIXES

    named: dict[str, tuple[Any, str]] = {}
    if student is not None:
        path, yamls = Path(student), (".yaml", ".yml")
        file = path.exists() or path.name != student or path.suffix in SUFFIXES
        arch = is_named(student) or path.suffix in yamls or not file
        key = "model.arch" if arch else "model.weights"  # a mistyped name is one of the former
        named[key] = (student, "flag --student")
    if teacher:
        who = teacher[0] if len(teacher) == 1 else teacher
        named["distill.teacher"] = (who, "flag --teacher")
    resolved, _ = resolve(given, named)
    from tutelage.doctor.examine import examine

    entries = examine(resolved.config, resolved.origins, all_methods=all_methods)
    found = list(entries if json else with_bar(entries))
    if json:
        print(json_format.dumps(by_kind(found)))
    else:
        say(*report_lines(found))
    if errors(found):
        raise typer.Exit(TeacherError.exit_code)


def with_bar(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Pass entries on under a progress bar, which a terminal shows until the end."""
    from tutelage.doctor.findings import STAGES, ExaminationStage

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("", total=len(STAGES))
        for entry in entries:
            if isinstance(entry, ExaminationStage):
                progress.update(bar, description=entry.title, completed=entry.number)
            yield entry


def errors(found: Sequence[Entry]) -> list[DoctorFinding]:
    """Return what would keep a run from starting."""
    from tutelage.doctor.findings import DoctorFinding

    return [entry for entry in found if isinstance(entry, DoctorFinding) and entry.level == "error"]


def by_kind(found: Sequence[Entry]) -> dict[str, Any]:
    """Return everything that was found as plain values, by kind."""
    from tutelage.doctor.advice import Suggestion
    from tutelage.doctor.findings import (
        DoctorFinding,
        LayerPairReport,
        MethodReport,
        StepCost,
        TeacherScores,
    )

    def of(kind: type) -> list[dict[str, Any]]:
        return [plain(entry) for entry in found if isinstance(entry, kind)]

    return {
        "ok": not errors(found),
        "teachers": of(TeacherScores),
        "levels": of(LayerPairReport),
        "methods": of(MethodReport),
        "cost_ms": next(iter(of(StepCost)), None),
        "findings": of(DoctorFinding),
        "suggestions": of(Suggestion),
    }


def report_lines(found: Sequence[Entry]) -> list[str]:
    """Return what was found as lines: the teacher, the pairs, the methods, cost, advice."""
    from tutelage.doctor.advice import Suggestion
    from tutelage.doctor.findings import (
        DoctorFinding,
        LayerPairReport,
        MethodReport,
        StepCost,
        TeacherScores,
    )

    levels = [entry for entry in found if isinstance(entry, LayerPairReport)]
    methods = [entry for entry in found if isinstance(entry, MethodReport)]
    lines: list[str] = []
    for entry in found:
        if isinstance(entry, TeacherScores):
            value = f"AP {score(entry.scores['AP'])}" if entry.scores else "no common class"
            lines.append(f"teacher  {entry.source}: {value} on this val split")
    if levels:
        lines += ["", *columns(_pair_rows(levels), left=3)]
    if methods:
        lines += ["", *columns(_method_rows(levels, methods), left=1)]
    for entry in found:
        if isinstance(entry, StepCost):
            more = f"the teacher adds {entry.teacher:.0f} ms"
            lines += ["", f"a step of {entry.images} images takes {entry.plain:.0f} ms; {more}"]
    told = [entry for entry in found if isinstance(entry, DoctorFinding)]
    lines += [""] * bool(told)
    for finding in told:
        mark = "" if finding.level == "info" else f"{finding.level}: "
        lines.append(f"{mark}{finding.text}")
        lines += [f"  {line}" for line in finding.fix.splitlines()]
    lines += ["", "Wiring: every term reaches the student." if not errors(found) else
              "A run would not start like this."]  # fmt: skip
    for entry in found:
        if isinstance(entry, Suggestion):
            lines += [f"try  {entry.setting}", f"     {entry.reason}"]
    return lines


def _pair_rows(levels: Sequence[LayerPairReport]) -> list[list[str]]:
    several = any(level.number > 1 for level in levels)
    rows = [["pair", "channels", "map", "CKA"]]
    for level in levels:
        rows.append(
            [
                f"{level.student.key} → {level.teacher.key}" + f" @{level.number}" * several,
                f"{level.student.channels} → {level.teacher.channels}",
                f"{level.size[0]}×{level.size[1]}",
                score(level.similarity),
            ]
        )
    return rows


def _method_rows(
    levels: Sequence[LayerPairReport], methods: Sequence[MethodReport]
) -> list[list[str]]:
    taps = dict.fromkeys(level.student.key for level in levels)
    each = [f"at {tap}" for tap in taps]
    rows = [["method", "weight", "∇kd / ∇det at it (quartiles)", *each, "adds ms"]]
    for method in methods:
        low, middle, high = method.quartiles
        weight = f"{method.weight:.3g}{'' if method.fixed else ' (auto)'}"
        ratio = f"{middle:.2g} ({low:.2g}…{high:.2g})"
        ratios = [f"{method.levels[tap]:.2g}" if tap in method.levels else "" for tap in taps]
        rows.append([method.name, weight, ratio, *ratios, f"{method.milliseconds:.0f}"])
    return rows
