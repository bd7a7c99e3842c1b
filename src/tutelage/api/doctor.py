"""``tutelage.doctor``: the command as a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.api.arguments import One, Several, resolve_arguments
from tutelage.api.settings import as_argument
from tutelage.config import ResolvedConfig
from tutelage.diagnosis.examine import examine
from tutelage.diagnosis.findings import DoctorFinding, Entry
from tutelage.diagnosis.report import Diagnosis, collect
from tutelage.models.catalog import is_named
from tutelage.models.weight_file import SUFFIXES


def doctor(
    student: One | None = None,
    data: One | None = None,
    *,
    config: One | None = None,
    hyp: One | None = None,
    preset: str | None = None,
    single_cls: bool = False,
    teacher_weights: Several | None = None,
    method: str | Sequence[str] | None = None,
    all_methods: bool = False,
    student_kd_layers: Sequence[int | str] | None = None,
    teacher_kd_layers: Sequence[int | str] | None = None,
    batch_size: int | None = None,
    img_size: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    precision: str | None = None,
    freeze: int | Sequence[int] | None = None,
    allow_code: Several | None = None,
    set: Mapping[str, Any] | Sequence[str] | None = None,
) -> Diagnosis:
    """Examine a teacher, a student and data before a run: nothing is trained or written.

    Args:
        student: Architecture, its yaml, or weights.
        data: Data set: YOLO yaml, COCO json, VOC folder, or ``digits``.
        config: A run file; arguments override it.
        hyp: A hyper-parameter file of YOLOv7 or YOLOv5.
        preset: ``small``, ``v7-tiny``, …
        single_cls: Treat all classes as one.
        teacher_weights: The teacher, or several.
        method: The methods to measure; None: the default.
        all_methods: Measure every method that fits.
        student_kd_layers: Layers of the student whose maps are compared.
        teacher_kd_layers: Layers of the teacher that they are compared with.
        batch_size: Images per step.
        img_size: Longer side of the images, in pixels.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0``, ``mps``.
        seed: Of everything random.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16``.
        freeze: Rows of the network that do not train.
        allow_code: Methods and teachers named in files that may be imported.
        set: Any other setting: ``{"optim.lr": 0.02}``.

    Raises:
        UserError: Data, model, teacher, layers, image size or device cannot be used.
    """
    given = locals()
    extra = student_settings(student, as_argument("student"))
    resolved, _ = resolve_arguments(given, extra)
    return collect(examination(resolved, all_methods=all_methods))


def student_settings(student: One | None, origin: str) -> dict[str, tuple[Any, str]]:
    """Return the setting that a student is: an architecture or weights."""
    if student is None:
        return {}
    path, yamls = Path(student), (".yaml", ".yml")
    file = path.exists() or path.name != str(student) or path.suffix in SUFFIXES
    arch = is_named(str(student)) or path.suffix in yamls or not file  # a mistyped name, too
    return {"model.arch" if arch else "model.weights": (str(student), origin)}


def examination(resolved: ResolvedConfig, *, all_methods: bool = False) -> Iterator[Entry]:
    """Yield the entries of the report.

    Args:
        resolved: All settings with their origins.
        all_methods: Measure every method that fits, not only those of the settings.

    Raises:
        UserError: Data, model, teacher, layers, image size or device cannot be used.
    """
    yield from (DoctorFinding("info", text) for text in resolved.notices)
    yield from examine(resolved.config, resolved.origins, all_methods=all_methods)
