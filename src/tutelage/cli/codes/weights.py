"""Codes of weights and models (exit status 4), of exports and optional packages (5)."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

WEIGHTS: Mapping[str, ErrorCode] = {
    "W00": ErrorCode(
        "weights that cannot be used",
        4,
        "The file cannot be used as it is.",
        "The message says what was found in it.",
        ("Look into the file without running anything in it:", "$ tutelage weights FILE"),
    ),
    "W10": ErrorCode(
        "weights missing or damaged",
        4,
        "The file is not there, cannot be read, is cut off, or is no checkpoint at all.",
        "A wrong path; a failed download (an HTML page, an empty or short file); a Git LFS pointer "
        "in place of the file.",
        ("Download it again; in a git repository:", "$ git lfs pull", "$ tutelage weights FILE"),
    ),
    "W11": ErrorCode(
        "file that would run code",
        4,
        "Reading the file in the usual way would call a function that no checkpoint needs. Nothing "
        "was executed. There is no flag to allow it.",
        "A malicious or unusual pickle: .pt files can run any program on the machine that loads "
        "them. Here they are only read as data.",
        (
            "Ask its author for a .safetensors. If you made it, save the state dict alone:",
            "$ python -c \"import torch; ...; torch.save(model.state_dict(), 'w.pt')\"",
        ),
    ),
    "W12": ErrorCode(
        "weights of another architecture",
        4,
        "Fewer than half of the model's tensors are in the file with the same name and shape.",
        "Weights of another model or width than --cfg says.",
        (
            "See which architecture the file is of, then name it:",
            "$ tutelage weights FILE",
            "$ tutelage train --cfg yolov7 --weights yolov7.pt",
        ),
    ),
    "W22": ErrorCode(
        "file without a usable detector",
        4,
        "The file can be read, but holds no YOLOv7 or YOLOv5 detector with weights.",
        "A classifier or segmenter, a training state, a folded deploy file, a bare state dict of "
        "an unknown model, or a run that was never evaluated.",
        (
            "$ tutelage weights FILE",
            "A state dict needs the yaml of its model:",
            "$ tutelage train --cfg model.yaml --weights FILE",
        ),
    ),
    "W23": ErrorCode(
        "weights that are not finite",
        4,
        "Tensors in the file hold NaN or infinity.",
        "The training that made it diverged, or half precision overflowed when it was saved.",
        ("Use an earlier checkpoint, or the file from before it was converted to half.",),
    ),
    "W24": ErrorCode(
        "model and data know other classes",
        4,
        "The classes of the model are not those of the data, in number, name or order.",
        "Another data set than the one it was trained on, or classes in another order.",
        (
            "Use its own data set, or compare places only:",
            "$ tutelage val runs/distilled --data data.yaml --single-cls",
        ),
    ),
    "W25": ErrorCode(
        "training state that cannot be continued",
        4,
        "last.pt is damaged, of another version, or of another run than the config.yaml beside it.",
        "A copy that was cut off, or two runs that wrote into one folder.",
        (
            "Start a new run from its best weights:",
            "$ tutelage train --weights runs/distilled/best.safetensors",
        ),
    ),
    "W26": ErrorCode(
        "exported file that cannot be run",
        4,
        "The exported file does not say its classes and stride, or its runtime cannot read it.",
        "It was made by another program, or it is damaged.",
        ("Export the checkpoint again:", "$ tutelage export runs/distilled --to onnx"),
    ),
    "E00": ErrorCode(
        "export that failed",
        5,
        "The export is not what the model is.",
        "A fault of the exporter.",
        ("Please report it, with the command line and environment.txt of the run.",),
    ),
    "E19": ErrorCode(
        "optional package missing",
        5,
        "The command needs a package that is not installed.",
        "Export, runtimes and teachers of other libraries are extras, so that training stays "
        "small.",
        (
            "Install what the message names, e.g.",
            "$ pip install 'tutelage[export,openvino]'",
        ),
    ),
    "E20": ErrorCode(
        "export that differs from the checkpoint",
        5,
        "The exported model was run on real images beside the checkpoint, and their outputs differ "
        "by more than the limit. It was kept under another name, with .rejected at its end.",
        "A fault of the exporter or of the runtime for an operation of this model.",
        (
            "Please report it. Until it is mended, another format may do:",
            "$ tutelage export runs/distilled --to openvino",
        ),
    ),
    "E22": ErrorCode(
        "nothing to verify an export on",
        5,
        "An export is verified on real images, and there are none.",
        "The data set of the run is not on this machine.",
        ("$ tutelage export runs/distilled --to onnx --images photos/",),
    ),
}
