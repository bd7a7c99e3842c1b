"""``tutelage export``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.cli.error_messages import Interrupted
from tutelage.cli.sigterm import sender, sigterm_as_interrupt
from tutelage.cli.yolo_flags import notices_of
from tutelage.deploy.formats import FormatName, files_of
from tutelage.display.formatting import score
from tutelage.display.tables import print_result

if TYPE_CHECKING:
    from tutelage.deploy.export import ExportResult


def export(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Run folder, .safetensors or published .pt"),
    ] = None,
    weights: o.HiddenWeights = None,
    to: Annotated[
        FormatName,
        typer.Option("--to", help="What to write", rich_help_panel=o.WHAT),
    ] = "onnx",
    nms: Annotated[bool, o.switch("--nms", "Put the suppression into the file", o.WHAT)] = False,
    half: Annotated[bool, o.switch("--half", "Weights in half precision", o.WHAT)] = False,
    int8: Annotated[bool, o.switch("--int8", "Eight-bit integers, with their AP", o.WHAT)] = False,
    fixed_batch: Annotated[
        int | None,
        o.value("--fixed-batch", "<n>", "Fix all shapes, for n images at a time", o.WHAT, min=1),
    ] = None,
    img_size: o.InferenceSize = None,
    conf: Annotated[float, o.fraction("--conf --conf-thres", "With --nms: least score")] = 0.25,
    iou: Annotated[float, o.fraction("--iou --iou-thres", "With --nms: overlap limit")] = 0.45,
    max_det: Annotated[
        int, o.value("--max-det", "<n>", "With --nms: per image", o.HOW, min=1)
    ] = 300,
    data: Annotated[
        str | None,
        o.value("--data", "<path>", "For verifying and --int8 [dim]\\[the run's][/]", o.HOW),
    ] = None,
    images: Annotated[
        str | None, o.value("--images", "<path>", "Verify on these [dim]\\[val images][/]", o.HOW)
    ] = None,
    calibration: Annotated[
        int, o.value("--calibration", "<n>", "With --int8: training images", o.HOW, min=1)
    ] = 128,
    out: Annotated[
        str | None,
        o.value("--out", "<path>", "File or folder [dim]\\[beside the weights][/]", o.WHERE),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Export a model for another runtime, verified against its checkpoint."""
    from tutelage.deploy.export import export as run_export

    chosen = o.required_model(model, weights, "export")
    try:
        with sigterm_as_interrupt():
            result = run_export(
                chosen,
                to,
                out=out,
                img_size=img_size,
                nms=nms,
                conf=conf,
                iou=iou,
                max_det=max_det,
                half=half,
                int8=int8,
                data=data,
                images=images,
                calibration=calibration,
                fixed_batch=fixed_batch,
            )
    except KeyboardInterrupt as stop:
        raise Interrupted(f"Stopped by {sender(stop)}: nothing was written.") from None
    content = {**result._asdict(), "path": str(result.path)}
    content["metadata"] = result.metadata.model_dump(mode="json")
    content["ways"] = [way._asdict() for way in result.ways]
    lines = [*notices_of(context), *result_lines(result, chosen)]
    print_result(content, lines, as_json=json)


def result_lines(result: ExportResult, model: str) -> list[str]:
    """Return the export of a model as lines: the file, its verification, the next commands."""
    from tutelage.deploy.metadata import RANDOM

    metadata, path = result.metadata, result.path
    facts = [
        f"{sum(file.stat().st_size for file in files_of(path)) / 1e6:.1f} MB",
        f"{metadata.parameters / 1e6:.2f} M parameters",
        metadata.precision,
        *(["NMS inside"] if metadata.nms else []),
    ]
    cases = [f"{case.canvas_hw[1]}x{case.canvas_hw[0]} by {case.batch}" for case in result.ways]
    floats = "" if result.int8_ap is None else " of the floats"
    lines = [
        f"{path}  {' · '.join(facts)}",
        f" verified{floats}  max |Δ| {result.difference:.1g} on {result.images} images, "
        f"{result.source}, at {' and '.join(cases)}",
    ]
    if result.float_ap is not None and result.int8_ap is not None:
        lines.append(f" AP  floats {score(result.float_ap)}  int8 {score(result.int8_ap)}")
    if metadata.weights == RANDOM:
        lines.append(f" weights random: {model} is an architecture, for measuring only")
    if path.suffix == ".pt2":
        return lines
    steps = [f"tutelage bench {shlex.quote(model)} {shlex.quote(str(path))}"]
    if metadata.weights != RANDOM:
        steps.insert(0, f"tutelage predict {shlex.quote(str(path))} photos/ --save out/")
    return [*lines, *(f" {'    ' if i else 'next'}  {step}" for i, step in enumerate(steps))]
