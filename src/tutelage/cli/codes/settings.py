"""Codes of the command line and of settings: exit status 2."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

SETTINGS: Mapping[str, ErrorCode] = {
    "C00": ErrorCode(
        "settings that cannot be used",
        2,
        "A setting, or several at once, cannot be used. Nothing was started.",
        "The message names each setting and what set it: a flag, --set, a run file, a hyp file. "
        "Several faults are told together, each with its own code.",
        (
            "Explain the code in front of each line, e.g.",
            "$ tutelage explain C05",
            "See what the settings come to, and from where:",
            "$ tutelage config run.yaml --hyp hyp.yaml",
        ),
    ),
    "C05": ErrorCode(
        "unknown setting",
        2,
        "There is no setting, or no option of a method, of that name.",
        "A typing error, a key of another program, or a setting of another section. Unknown names "
        "are refused, because a setting that is silently ignored trains another model than meant.",
        (
            "Take the name that the message suggests, or look it up:",
            "$ tutelage config --all",
            "$ tutelage methods",
        ),
    ),
    "C17": ErrorCode(
        "image size off the grid",
        2,
        "The image size must be a multiple of the model's largest stride.",
        "The network halves the image at each of its levels: 5 times (32) in most models, 6 times "
        "(64) in those for large images. A size is never rounded silently.",
        ("Take the nearest size that the message names:", "$ tutelage train --img-size 640"),
    ),
    "C18": ErrorCode(
        "device absent",
        2,
        "The device is no device, or this machine does not have it. As a warning: no GPU was "
        "found, and the run trains on the CPU.",
        "A number of another machine, a driver that torch does not find, a torch without CUDA, or "
        "CUDA_VISIBLE_DEVICES that hides the GPU.",
        (
            "See what torch finds:",
            '$ python -c "import torch; print(torch.cuda.is_available())"',
            "Train on what is there:",
            "$ tutelage train --device auto",
        ),
    ),
    "C22": ErrorCode(
        "command line not understood",
        2,
        "There is no such command or option, or it has too few or too many values.",
        "A typing error, or an option of another command.",
        ("Ask for the options of the command:", "$ tutelage train --help"),
    ),
    "C23": ErrorCode(
        "flag of YOLOv7 or YOLOv5 without equal here",
        2,
        "The flag belongs to the scripts of YOLOv7 or YOLOv5 and would change the result; nothing "
        "here does the same.",
        "Most of their flags work as they are. Those that would be ignored are refused instead, "
        "and the message says what to use.",
        ("The table of all their flags is in docs/from-yolov7.md.", "$ tutelage train --help"),
    ),
    "C24": ErrorCode(
        "settings file that cannot be read",
        2,
        "A run file (--config), a hyp file (--hyp) or the settings of a stored run cannot be read "
        "as 'name: value' lines of yaml.",
        "A wrong path, a file that is no text, a tab instead of spaces, a missing colon, a key "
        "that stands twice.",
        (
            "Mend the line that the message names; see what the file comes to:",
            "$ tutelage config run.yaml",
        ),
    ),
    "C25": ErrorCode(
        "value that cannot be used",
        2,
        "A setting has a value of the wrong kind or out of its range.",
        "Text where a number belongs, a number out of range, a name that is none of the choices.",
        (
            "The message says what is expected; all settings and their kinds:",
            "$ tutelage config --all",
        ),
    ),
    "C26": ErrorCode(
        "something needed is not given",
        2,
        "The command needs a data set, a model or a teacher that was not named.",
        "A flag was left out, or a variable of the shell was empty.",
        ("Name it:", "$ tutelage train --data data.yaml --teacher-weights runs/teacher"),
    ),
    "C27": ErrorCode(
        "unknown model",
        2,
        "The name is no architecture, no yaml, no weight file and no run folder.",
        "A typing error, a file that is not there, or a width after @ that is none.",
        (
            "Known architectures are in the README; the layers of one:",
            "$ tutelage layers yolov7-tiny",
            "Weights are given apart from the architecture:",
            "$ tutelage train --cfg yolov7-tiny --weights yolov7-tiny.pt",
        ),
    ),
    "C28": ErrorCode(
        "model yaml that cannot be built",
        2,
        "The yaml of a model is not valid, names blocks that are not known, or its rows do not "
        "fit.",
        "An edited yaml, or one of a fork with blocks of its own.",
        (
            "Mend the row that the message names, then look at the result:",
            "$ tutelage layers model.yaml",
            "A block of your own is one file and one line: docs/architecture.md.",
        ),
    ),
    "C29": ErrorCode(
        "output that cannot be written",
        2,
        "A result cannot be written where it was asked for, or would overwrite something.",
        "A folder that does not exist or may not be written, a file that exists, a wrong ending, "
        "or an output inside the data it is made from.",
        (
            "Name another place, or with tutelage weights allow it:",
            "$ tutelage weights FILE --to x.safetensors --force",
        ),
    ),
    "C30": ErrorCode(
        "choices that exclude each other",
        2,
        "Two settings cannot go together, or one is not possible on this machine.",
        "For example fp16 on the CPU, a batch of one image at a size where BatchNorm sees one "
        "value, --half with --int8 in an export, or a measure that an exported file cannot take.",
        ("Leave one of them out, as the message says.",),
    ),
    "C31": ErrorCode(
        "a comparison that cannot be planned",
        2,
        "tutelage compare cannot make runs of these arms, seeds or settings, or the folder holds "
        "another comparison.",
        "An arm given twice, seeds or ratios that are no numbers, or settings that differ from "
        "those with which the comparison in this folder was begun.",
        (
            "List the runs without training any:",
            "$ tutelage compare --data data.yaml --teacher-weights T --dry-run",
            "Begin another one beside it:",
            "$ tutelage compare --data data.yaml --teacher-weights T --name other",
        ),
    ),
}
