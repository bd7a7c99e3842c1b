"""``tutelage doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tutelage.cli import options as o
from tutelage.cli.formatting import score
from tutelage.cli.run_lines import headline
from tutelage.cli.tables import columns, make_progress, print_lines, print_result
from tutelage.cli.train import LOADING
from tutelage.errors import TeacherError
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.diagnosis.findings import DoctorFinding, Entry, LayerPairReport, MethodReport

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
    allow_code: o.AllowCode = None,
    json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Examine a teacher, a student and data before a run: nothing is trained or written."""
    entries = _entries(locals())
    if json:
        report = list(entries)
    else:
        print_lines(headline())
        report = list(with_progress(entries))
    print_result(by_kind(report), report_lines(report), as_json=json)
    if errors(report):
        raise typer.Exit(TeacherError.exit_code)


def _entries(given: dict[str, Any]) -> Iterator[Entry]:
    """Resolve the options of the command and yield the entries of the report."""
    from tutelage.cli.settings import resolve
    from tutelage.models.catalog import is_named
    from tutelage.models.weight_file import SUFFIXES

    student, teacher = given["student"], given["teacher"]
    flags: dict[str, tuple[Any, str]] = {}
    if student is not None:
        path, yamls = Path(student), (".yaml", ".yml")
        file = path.exists() or path.name != student or path.suffix in SUFFIXES
        arch = is_named(student) or path.suffix in yamls or not file  # a mistyped name, too
        flags["model.arch" if arch else "model.weights"] = (student, "flag --student")
    if teacher:
        flags["distill.teacher"] = (teacher[0] if len(teacher) == 1 else teacher, "flag --teacher")
    resolved, _ = resolve(given, flags)
    from tutelage.diagnosis.examine import examine
    from tutelage.diagnosis.findings import DoctorFinding

    yield from (DoctorFinding("info", text) for text in resolved.notices)
    yield from examine(resolved.config, resolved.origins, all_methods=given["all_methods"])


def with_progress(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield the entries of a report and show their progress on a terminal."""
    with make_progress() as progress:
        bar = progress.add_task(LOADING.text, total=None)
        from tutelage.diagnosis.findings import STAGES, ExaminationStage

        for entry in entries:
            if isinstance(entry, ExaminationStage):
                done, total = entry.number, len(STAGES)
                progress.update(bar, description=entry.title, completed=done, total=total)
            yield entry


def errors(report: Sequence[Entry]) -> list[DoctorFinding]:
    """Return the findings with which a run would not start."""
    from tutelage.diagnosis.findings import DoctorFinding

    return [finding for finding in _of_kind(report, DoctorFinding) if finding.level == "error"]


def _of_kind(report: Sequence[Entry], kind: type[T]) -> list[T]:
    return [entry for entry in report if isinstance(entry, kind)]


def by_kind(report: Sequence[Entry]) -> dict[str, Any]:
    """Return a report as plain values, by kind."""
    from tutelage.diagnosis import findings as f
    from tutelage.diagnosis.advice import Suggestion

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
    from tutelage.diagnosis import findings as f
    from tutelage.diagnosis.advice import Suggestion

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
        code = f" [{finding.code}]" if finding.code else ""
        mark = "" if finding.level == "info" else f"{finding.level}{code}: "
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
