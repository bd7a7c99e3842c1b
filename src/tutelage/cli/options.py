"""The options of the commands. Values stay text: the schema checks them, all at once."""

from __future__ import annotations

from typing import Annotated

import typer

# Rarely used flags are hidden, so that help stays on one screen; its last lines name them.
WHAT, KD, HOW, WHERE = "What", "Distillation", "How", "Where"
PRESETS = "v7-p5|p6|tiny|custom, v5-low|med|high"

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="<path>",
        help="Data yaml, COCO json or folder, VOC, digits",
        rich_help_panel=WHAT,
    ),
]
Cfg = Annotated[
    str | None,
    typer.Option(
        "--cfg",
        metavar="<model>",
        help="Architecture or its yaml [dim]\\[yolov7-tiny][/]",
        rich_help_panel=WHAT,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="<model>", help="Start from these weights", rich_help_panel=WHAT
    ),
]
RunFile = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="<yaml>", help="A run file; flags override it", rich_help_panel=WHAT
    ),
]
Hyp = Annotated[
    str | None,
    typer.Option(
        "--hyp",
        metavar="<yaml>",
        help="YOLOv7 or YOLOv5 hyper-parameter file",
        rich_help_panel=WHAT,
    ),
]
Preset = Annotated[
    str | None, typer.Option("--preset", metavar="<name>", help=PRESETS, rich_help_panel=WHAT)
]
SingleClass = Annotated[
    bool,
    typer.Option(
        "--single-cls",
        help="Treat all classes as one",
        rich_help_panel=WHAT,
        metavar="",
        show_default=False,
    ),
]

Teacher = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher-weights",
        metavar="<model>",
        help="Distil from this model (repeatable)",
        rich_help_panel=KD,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="<spec>",
        help="e.g. fgd:weight=2 (repeatable) [dim]\\[auto][/]",
        rich_help_panel=KD,
    ),
]
StudentLayers = Annotated[
    str | None,
    typer.Option(
        "--student-kd-layers",
        metavar="<list>",
        help="e.g. 57,65,73 [dim]\\[p3,p4,p5][/]",
        rich_help_panel=KD,
    ),
]
TeacherLayers = Annotated[
    str | None,
    typer.Option(
        "--teacher-kd-layers",
        metavar="<list>",
        help="e.g. 75,88,101 [dim]\\[p3,p4,p5][/]",
        rich_help_panel=KD,
    ),
]

Epochs = Annotated[
    str | None,
    typer.Option(
        "--epochs",
        metavar="<n>",
        help="Passes over the images [dim]\\[100][/]",
        rich_help_panel=HOW,
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        "--batch",
        metavar="<n>",
        help="Images per step, or auto [dim]\\[16][/]",
        rich_help_panel=HOW,
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--img-size",
        "--img",
        "--imgsz",
        metavar="<px>",
        help="Training and evaluation [dim]\\[640][/]",
        rich_help_panel=HOW,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--img-size",
        "--img",
        "--imgsz",
        metavar="<px>",
        help="[dim]\\[as trained][/]",
        rich_help_panel=HOW,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="<name>", help="auto | cpu | cuda:0 | 0 | mps", rich_help_panel=HOW
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers", metavar="<n>", help="Loader processes [dim]\\[auto][/]", rich_help_panel=HOW
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices", metavar="<n>", help="Processes, one per GPU [dim]\\[1][/]", rich_help_panel=HOW
    ),
]
Seed = Annotated[
    str | None,
    typer.Option(
        "--seed", metavar="<n>", help="Of everything random [dim]\\[0][/]", rich_help_panel=HOW
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="<name>", help="auto | fp32 | fp16 | bf16", rich_help_panel=HOW
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option("--optimizer", metavar="<name>", help="sgd | adam | adamw", hidden=True),
]
Freeze = Annotated[
    str | None,
    typer.Option(
        "--freeze", metavar="<rows>", help="10: rows 0 to 9; 0,1,2: these rows", hidden=True
    ),
]
Patience = Annotated[
    str | None,
    typer.Option(
        "--patience",
        metavar="<n>",
        help="Epochs without a better AP [dim]\\[100][/]",
        hidden=True,
    ),
]
MultiScale = Annotated[
    bool,
    typer.Option(
        "--multi-scale",
        help="Vary the image size by half",
        hidden=True,
        metavar="",
        show_default=False,
    ),
]
Rect = Annotated[
    bool,
    typer.Option(
        "--rect",
        help="Batches of similar shape, no mosaic",
        hidden=True,
        metavar="",
        show_default=False,
    ),
]
CacheImages = Annotated[
    bool,
    typer.Option(
        "--cache-images",
        help="Keep images in RAM",
        rich_help_panel=HOW,
        metavar="",
        show_default=False,
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume", metavar="<run>", help="Continue an interrupted run", rich_help_panel=HOW
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Build, run one step, print the plan",
        rich_help_panel=HOW,
        metavar="",
        show_default=False,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VAL", help="Any other setting (repeatable)", rich_help_panel=HOW
    ),
]

Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="<folder>",
        help="Parent of the run folders [dim]\\[runs][/]",
        rich_help_panel=WHERE,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="<name>",
        help="Run folder [dim]\\[<data>-<cfg>-<method>][/]",
        rich_help_panel=WHERE,
    ),
]
ExistOk = Annotated[
    bool,
    typer.Option(
        "--exist-ok",
        help="Use the folder if it exists",
        hidden=True,
        metavar="",
        show_default=False,
    ),
]
Augment = Annotated[
    bool,
    typer.Option(
        "--augment",
        help="Three views of each image",
        rich_help_panel=HOW,
        metavar="",
        show_default=False,
    ),
]
Half = Annotated[
    bool,
    typer.Option(
        "--half",
        help="Half precision, on a GPU",
        rich_help_panel=HOW,
        metavar="",
        show_default=False,
    ),
]

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Machine-readable output",
        rich_help_panel=WHERE,
        metavar="",
        show_default=False,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", help="Errors only", rich_help_panel=WHERE, metavar="", show_default=False
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show the traceback of an error",
        rich_help_panel=WHERE,
        metavar="",
        show_default=False,
    ),
]
