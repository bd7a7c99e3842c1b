"""The doctor's report as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tutelage.display.formatting import score
from tutelage.display.tables import columns

if TYPE_CHECKING:
    from tutelage.diagnosis.findings import LayerPairReport, MethodReport
    from tutelage.diagnosis.report import Diagnosis


def diagnosis_lines(report: Diagnosis) -> list[str]:
    """Return a report as lines: teacher, layer pairs, methods, cost, findings, advice."""
    lines: list[str] = []
    for teacher in report.teachers:
        value = f"AP {score(teacher.scores['AP'])}" if teacher.scores else "no common class"
        lines.append(f"teacher  {teacher.source}: {value} on this val split")
    if report.levels:
        lines += ["", *columns(_pair_rows(report.levels), left=3)]
    if report.methods:
        lines += ["", *columns(_method_rows(report.levels, report.methods), left=1)]
    if cost := report.cost:
        step = f"a step of {cost.images} images takes {cost.plain:.0f} ms"
        lines += ["", f"{step}; the teacher adds {cost.teacher:.0f} ms"]
    lines += [""] * bool(report.findings)
    for finding in report.findings:
        code = f" [{finding.code}]" if finding.code else ""
        mark = "" if finding.level == "info" else f"{finding.level}{code}: "
        lines.append(f"{mark}{finding.text}")
        lines += [f"  {line}" for line in finding.fix.splitlines()]
    passed = "Wiring: every term reaches the student."
    lines += ["", "A run would not start with these errors." if report.errors else passed]
    for suggestion in report.suggestions:
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
