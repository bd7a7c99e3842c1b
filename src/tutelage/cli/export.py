"""``tutelage export``."""

from __future__ import annotations

import json as json_format
import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tutelage.cli import options as o
from tutelage.cli.formatting import score
from tutelage.cli.tables import say
from tutelage.cli.yolo_flags import notices_of

if TYPE_CHECKING:
    from tutelage.deploy.export import ExportResult


def export(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Run folder, .safetensors or YOLOv7/v5 .pt"),
    ] = None,
    weights: o.HiddenWeights = None,
    to: Annotated[
        Literal["onnx", "openvino", "pt2"],
        typer.Option("--to", help="What to write", rich_help_panel=o.WHAT),
    ] = "onnx",
    nms: Annotated[bool, o.switch("--nms", "Put the suppression into the file", o.WHAT)] = False,
    half: Annotated[bool, o.switch("--half", "Weights in half precision", o.WHAT)] = False,
    int8: Annotated[bool, o.switch("--int8", "Eight-bit integers, with their AP", o.WHAT)] = False,
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
    done = run_export(
        chosen,
        to,
        out=out,
        image_size=img_size,
        nms=nms,
        conf=conf,
        iou=iou,
        max_detections=max_det,
        half=half,
        int8=int8,
        data=data,
        images=images,
        calibration=calibration,
    )
    if json:
        content = {**done._asdict(), "path": str(done.path)}
        content["metadata"] = done.metadata.model_dump(mode="json")
        content["ways"] = [way._asdict() for way in done.ways]
        print(json_format.dumps(content))
    else:
        say(*notices_of(context))
        say(*lines_of(done, chosen))


def lines_of(done: ExportResult, model: str) -> list[str]:
    """Return what there is to say of an export of a model."""
    from tutelage.deploy.metadata import RANDOM

    about = done.metadata
    size = sum(
        part.stat().st_size
        for part in (done.path, done.path.with_suffix(".bin"))
        if part == done.path or done.path.suffix == ".xml"
    )
    facts = [f"{size / 1e6:.1f} MB", f"{about.parameters / 1e6:.2f} M parameters", about.precision]
    facts += ["NMS inside"] if about.nms else []
    shown = " and ".join(
        f"{way.canvas_hw[1]}x{way.canvas_hw[0]} by {way.batch}" for way in done.ways
    )
    floats = "" if done.int8_ap is None else " of the floats"
    lines = [
        f"{done.path}  {' · '.join(facts)}",
        f" verified{floats}  max |Δ| {done.difference:.1g} on {done.images} images, "
        f"{done.source}, at {shown}",
    ]
    if done.float_ap is not None and done.int8_ap is not None:
        lines.append(f" AP  floats {score(done.float_ap)}  int8 {score(done.int8_ap)}")
    if about.weights == RANDOM:
        lines.append(f" weights random: {model} is an architecture, good for measuring only")
    if done.path.suffix == ".pt2":
        return lines
    path = shlex.quote(str(done.path))
    steps = [f"tutelage bench {shlex.quote(model)} {path}"]
    if about.weights != RANDOM:
        steps.insert(0, f"tutelage predict {path} photos/ --save out/")
    return [*lines, *(f" {'next' if not i else '    '}  {step}" for i, step in enumerate(steps))]
