"""``tutelage bench``."""

from __future__ import annotations

import json as json_format
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.display.tables import columns, print_lines

if TYPE_CHECKING:
    from tutelage.deploy.bench import Measurement

HEAD = ("runtime", "device", "size", "parameters", "GFLOPs", "MB", "p50 ms", "p95 ms", "images/s")


class RuntimeChoice(StrEnum):
    """Values of ``--runtime``: those of ``tutelage.deploy.formats.Runtime``."""

    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"
    ncnn = "ncnn"
    litert = "litert"


def bench(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Run folders, weights, names, exports"),
    ],
    runtime: Annotated[
        list[RuntimeChoice] | None,
        typer.Option(
            "--runtime",
            help="Repeatable; checkpoints are exported for it [dim]\\[the file's][/]",
            rich_help_panel=o.HOW,
        ),
    ] = None,
    device: o.Device = None,
    img_size: o.InferenceSize = None,
    batch_size: o.ImagesAtATime = 1,
    repeats: Annotated[int, o.value("--repeats", "<n>", "Batches measured", o.HOW, min=1)] = 50,
    threads: Annotated[
        int | None,
        o.value("--threads", "<n>", "On the CPU [dim]\\[its cores][/]", o.HOW, min=1),
    ] = None,
    half: Annotated[bool, o.switch("--half", "Half precision", o.HOW)] = False,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Measure models: size, operations, latency, throughput and memory."""
    from tutelage.config.overrides import normalise_value
    from tutelage.deploy.bench import bench as run_bench

    measured = list(
        run_bench(
            models,
            runtime=[each.value for each in runtime] if runtime else None,
            device=normalise_value("train.device", device or "auto"),
            img_size=img_size,
            batch_size=batch_size,
            repeats=repeats,
            threads=threads,
            half=half,
        )
    )
    if json:
        print(json_format.dumps([each._asdict() for each in measured], indent=1))
    else:
        print_lines(*table(measured))


def table(measured: list[Measurement]) -> list[str]:
    """Return the measurements as lines."""
    rows = [["model", *HEAD, "MiB"]]
    for each in measured:
        precision = "" if each.precision == "float32" else f" {each.precision}"
        size = f"{each.image_size}x{each.batch}"
        cells = [each.model, f"{each.runtime}{precision}", each.device, size]
        cells += [f"{each.parameters / 1e6:.2f} M", f"{each.gflops:.2f}"]
        numbers = (each.megabytes, each.p50_ms, each.p95_ms, each.images_per_second)
        memory = "-" if each.memory_mib is None else f"{each.memory_mib:.0f}"
        rows.append([*cells, *(f"{number:.1f}" for number in numbers), memory])
    return columns(rows, left=3)
