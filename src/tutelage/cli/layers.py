"""``tutelage layers``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.display.tables import columns, print_result
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.distill.pairing import Pairs
    from tutelage.models.graph import GraphDetector
    from tutelage.teachers import Teacher


def layers(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Architecture, its yaml, weights, or a teacher")
    ],
    teacher: Annotated[
        str | None, o.value("--teacher", "<model>", "Suggest pairs with this network", o.OPTIONS)
    ] = None,
    img_size: Annotated[
        int, o.value("--img-size --img", "<px>", "For the sizes of the maps", o.OPTIONS, min=32)
    ] = 640,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """List the layers that can be tapped, and with a teacher the pairs of both networks."""
    from tutelage.models.build import is_architecture, load
    from tutelage.models.detector import check_image_size
    from tutelage.teachers import is_native

    if not is_native(model) and not is_architecture(model):
        if teacher is not None:
            raise ConfigError(
                f"{model} is a network of another library, which cannot be a student.",
                fix=f"tutelage layers yolov7-tiny --teacher {model}",
                code="C27",
            )
        _, rows, lines = teacher_of(model, img_size)
        print_result({"teacher": rows}, lines, as_json=json)
        return
    student = load(model)
    check_image_size(img_size, max(student.strides))
    if teacher is None:
        listing: dict[str, Any] = {"student": rows_of(student, img_size)}
        lines = table_of(student, img_size)
    else:
        from tutelage.distill.pairing import pair

        network, rows, table = teacher_of(teacher, img_size)
        pairs = pair(student, network)
        listing = {
            "student": rows_of(student, img_size),
            "teacher": rows,
            "student_kd_layers": [tap.key for tap in pairs.student],
            "teacher_kd_layers": [tap.key for tap in pairs.teacher],
        }
        own = table_of(student, img_size, "student ")
        lines = [*own, "", *table, "", *pair_lines(student, pairs)]
    print_result(listing, lines, as_json=json)


def teacher_of(
    source: str, image_size: int
) -> tuple[GraphDetector | Teacher, list[dict[str, Any]], list[str]]:
    """Return a teacher, its layers as plain values, and as lines.

    Native networks are built without weights if there are none; others must be loaded to know
    their layers.
    """
    from tutelage.models.build import load
    from tutelage.models.detector import check_image_size
    from tutelage.teachers import is_native, load_teacher

    if is_native(source):
        network = load(source)
        check_image_size(image_size, max(network.strides))
        return network, rows_of(network, image_size), table_of(network, image_size, "teacher ")
    import torch

    teacher = load_teacher(source, torch.device("cpu"))
    check_image_size(image_size, teacher.stride)
    rows: list[dict[str, Any]] = [
        tap._asdict() | {"size": [image_size // tap.stride] * 2} for tap in teacher.taps
    ]
    cells = [["layer", "channels", "stride", f"at {image_size} px"]]
    for row in rows:
        map_size = "{}×{}".format(*row["size"])
        cells.append([row["key"], str(row["channels"]), str(row["stride"]), map_size])
    return teacher, rows, [f"teacher {teacher.title}", *columns(cells, left=1)]


def rows_of(network: GraphDetector, image_size: int) -> list[dict[str, Any]]:
    """Return the layers that can be tapped, without the head, as plain values."""
    from tutelage.models.cost import describe

    return [asdict(row) for row in describe(network, image_size) if row.stride]


def table_of(network: GraphDetector, image_size: int, title: str = "") -> list[str]:
    """Return the layers that can be tapped as lines."""
    from tutelage.models.catalog import describe_width
    from tutelage.models.cost import cost

    total, width = cost(network, image_size), describe_width(network.arch_name)
    name = f"{network.arch_name} ({width})" if width else network.arch_name
    size = (
        f"{total.parameters / 1e6:.1f} M parameters, {total.gflops:.1f} GFLOPs at {image_size} px"
    )
    if network.auxiliary:
        lead = cost(network.fused(), image_size)
        size += (
            f" with the auxiliary heads of training (deployed: {lead.parameters / 1e6:.1f} M, "
            f"{lead.gflops:.1f} GFLOPs)"
        )
    levels = "  ".join(f"{level} = {key}" for level, key in network.levels.items())
    rows = [["layer", "block", "channels", "stride", f"at {image_size} px", "level"]]
    for row in rows_of(network, image_size):
        map_size = "{}×{}".format(*row["size"])
        numbers = (str(row["channels"]), str(row["stride"]), map_size)
        rows.append([str(row["index"]), row["block"], *numbers, row["level"]])
    return [
        f"{title}{name}: {size}. Default taps: {levels}",
        *columns(rows, left=(1, 5)),
    ]


def pair_lines(student: GraphDetector, pairs: Pairs) -> list[str]:
    """Return the suggested pairs, and two lines for a run file or a hyp file."""
    marks = {key: level for level, key in student.levels.items()}
    rows = [["pair", "student", "teacher", "channels", "stride"]]
    for mine, theirs in zip(pairs.student, pairs.teacher, strict=True):
        widths = f"{mine.channels} → {theirs.channels}"
        rows.append([marks.get(mine.key, ""), mine.key, theirs.key, widths, str(mine.stride)])
    keys = [", ".join(tap.key for tap in taps) for taps in (pairs.student, pairs.teacher)]
    return [
        "Suggested pairs (the default of a run):",
        *columns(rows, left=1),
        "",
        f"student_kd_layers: [{keys[0]}]",
        f"teacher_kd_layers: [{keys[1]}]",
    ]
