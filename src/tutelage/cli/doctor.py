"""``tutelage doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tutelage.cli import options as o
from tutelage.cli.formatting import score
from tutelage.cli.tables import columns, make_progress, print_result
from tutelage.errors import TeacherError
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.doctor.findings import DoctorFinding, Entry, LayerPairReport, MethodReport

T = TypeVar("T")


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
        o.value("--teacher --teacher-weights", "<model>", "The teacher (repeatable)", o.KD),
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

    flags: dict[str, tuple[Any, str]] = {}
    if student is not None:
        path, yamls = Path(student), (".yaml", ".yml")
        file = path.exists() or path.name != student or path.suffix in SUFFIXES
        arch = is_named(student) or path.suffix in yamls or not file  # a mistyped name, too
        flags["model.arch" if arch else "model.weights"] = (student, "flag --student")
    if teacher:
        flags["distill.teacher"] = (teacher[0] if len(teacher) == 1 else teacher, "flag --teacher")
    resolved, _ = resolve(given, flags)
    from tutelage.doctor.examine import examine
    from tutelage.doctor.findings import DoctorFinding

    entries = examine(resolved.config, resolved.origins, all_methods=all_methods)
    notices: list[Entry] = [DoctorFinding("info", text) for text in resolved.notices]
    report = [*notices, *(entries if json else with_progress(entries))]
    print_result(by_kind(report), report_lines(report), as_json=json)
    if errors(report):
        raise typer.Exit(TeacherError.exit_code)


def with_progress(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield the entries of a report and show their progress on a terminal."""
    from tutelage.doctor.findings import STAGES, ExaminationStage

    with make_progress() as progress:
        bar = progress.add_task("", total=len(STAGES))
        for entry in entries:
            if isinstance(entry, ExaminationStage):
                progress.update(bar, description=entry.title, completed=entry.number)
            yield entry


def errors(report: Sequence[Entry]) -> list[DoctorFinding]:
    """Return the findings with which a run would not start."""
    from tutelage.doctor.findings import DoctorFinding

    return [finding for finding in _of_kind(report, DoctorFinding) if finding.level == "error"]


def _of_kind(report: Sequence[Entry], kind: type[T]) -> list[T]:
    return [entry for entry in report if isinstance(entry, kind)]


def by_kind(report: Sequence[Entry]) -> dict[str, Any]:
    """Return a report as plain values, by kind."""
    from tutelage.doctor import findings as f
    from tutelage.doctor.advice import Suggestion

    def of(kind: type) -> list[dict[str, Any]]:
        return [json_values(entry) for entry in _of_kind(report, kind)]

    return {
        "ok": not errors(report),
        "teachers": of(f.TeacherScores),
        "levels": of(f.LayerPairReport),
        "methods": of(f.MethodReport),
        "cost_ms": next(iter(of(f.StepCost)), None),
        "findings": of(f.DoctorFinding),
        "suggestions": of(Suggestion),
    }


def report_lines(report: Sequence[Entry]) -> list[str]:
    """Return a report as lines: teacher, layer pairs, methods, cost, findings, advice."""
    from tutelage.doctor import findings as f
    from tutelage.doctor.advice import Suggestion

    levels = _of_kind(report, f.LayerPairReport)
    methods = _of_kind(report, f.MethodReport)
    findings = _of_kind(report, f.DoctorFinding)
    lines: list[str] = []
    for teacher in _of_kind(report, f.TeacherScores):
        value = f"AP {score(teacher.scores['AP'])}" if teacher.scores else "no common class"
        lines.append(f"teacher  {teacher.source}: {value} on this val split")
    if levels:
        lines += ["", *columns(_pair_rows(levels), left=3)]
    if methods:
        lines += ["", *columns(_method_rows(levels, methods), left=1)]
    for cost in _of_kind(report, f.StepCost):
        step = f"a step of {cost.images} images takes {cost.plain:.0f} ms"
        lines += ["", f"{step}; the teacher adds {cost.teacher:.0f} ms"]
    lines += [""] * bool(findings)
    for finding in findings:
        mark = "" if finding.level == "info" else f"{finding.level}: "
        lines.append(f"{mark}{finding.text}")
        lines += [f"  {line}" for line in finding.fix.splitlines()]
    passed = "Wiring: every term reaches the student."
    lines += ["", "A run would not start with these errors." if errors(report) else passed]
    for suggestion in _of_kind(report, Suggestion):
        lines += [f"try  {suggestion.setting}", f"     {suggestion.reason}"]
    return lines


def _pair_rows(levels: Sequence[LayerPairReport]) -> list[list[str]]:
    several = any(level.number > 1 for level in levels)
    rows = [["pair", "channels", "map", "CKA"]]
    for level in levels:
        pair = f"{level.student.key} → {level.teacher.key}" + f" @{level.number}" * several
        channels = f"{level.student.channels} → {level.teacher.channels}"
        size = f"{level.size[0]}×{level.size[1]}"
        rows.append([pair, channels, size, score(level.similarity)])
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
