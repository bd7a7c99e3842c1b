"""Codes of teachers, layers and methods: exit status 2 for settings, 4 for the teacher itself."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

TEACHING: Mapping[str, ErrorCode] = {
    "T00": ErrorCode(
        "teacher that cannot be used",
        4,
        "The teacher cannot be used with this student and data.",
        "The message gives the reason.",
        (
            "Examine teacher, student and data without training:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
        ),
    ),
    "T06": ErrorCode(
        "layers that do not exist",
        2,
        "The student or the teacher has no layer of that number, or the layer outputs no feature "
        "map.",
        "Numbers of another network, student and teacher swapped, or a duplicate layer.",
        (
            "List the layers of both, with the pairs that fit:",
            "$ tutelage layers yolov7-tiny --teacher yolov7.pt",
            "Without --student-kd-layers and --teacher-kd-layers p3, p4 and p5 are paired.",
        ),
    ),
    "T07": ErrorCode(
        "unequal numbers of layers",
        2,
        "Student and teacher layers are paired in the given order, and one list is longer.",
        "A layer is missing in one of the lists.",
        (
            "Add the layer that the message names, or omit one list: layers are then paired by "
            "stride.",
            "$ tutelage layers yolov7-tiny --teacher yolov7.pt",
        ),
    ),
    "T08": ErrorCode(
        "layers whose strides differ",
        2,
        "The feature maps of a pair have different sizes, so that their cells do not align.",
        "Layers of different depth were paired, or one network has no level of that stride.",
        (
            "Pair layers of equal stride:",
            "$ tutelage layers yolov7-tiny --teacher yolov7.pt",
            "Or resize the student's map:",
            "$ tutelage train --set distill.resize=true",
        ),
    ),
    "T09": ErrorCode(
        "classes of teacher and student differ",
        2,
        "A method compares class scores, but teacher and student have different classes.",
        "A teacher trained on another data set (e.g. the 80 classes of COCO), or another spelling "
        "of the names.",
        (
            "Compare features instead:",
            "$ tutelage train --method fgd",
            "Or map the classes (student's: teacher's):",
            "$ tutelage train --set distill.classes=by-name",
            "$ tutelage train --set 'distill.classes={RBC: red cell}'",
        ),
    ),
    "T21": ErrorCode(
        "teacher worse than the student",
        None,
        "On your val split the teacher's AP is below that of the student before its first step.",
        "A teacher trained on other data, and a student that starts from good weights. "
        "Distillation would make the student worse.",
        (
            "Train the teacher on this data first:",
            "$ tutelage train --weights yolov7.pt --data data.yaml --name teacher",
            "$ tutelage train --teacher-weights runs/teacher --data data.yaml",
        ),
    ),
    "T22": ErrorCode(
        "no such distillation method",
        2,
        "The text is neither a method nor an importable class, or not of the form "
        "name:option=value.",
        "A typing error, an option given twice, or a module that Python does not find.",
        (
            "$ tutelage methods",
            "$ tutelage train --method fgd:alpha=0.002,weight=2",
            "$ tutelage train --method my_package.kd:Mine",
        ),
    ),
    "T23": ErrorCode(
        "network of another library that cannot be opened",
        4,
        "The network of torchvision, transformers or Ultralytics is unknown, not on this machine, "
        "or incomplete. If only the name is wrong, the exit status is 2.",
        "A typing error, weights that were never downloaded (only a hub id is downloaded), or a "
        "network for another task.",
        ("Teachers and their names: docs/teachers.md.", "Students (D-FINE): docs/models.md."),
    ),
    "T24": ErrorCode(
        "distillation gradients do not reach the student",
        4,
        "On the first training batch a distillation term was 0 or not finite, parameters had no "
        "gradient or were in no optimizer, or the teacher changed.",
        "A custom method or teacher, frozen layers, or weights that were not loaded.",
        (
            "Check the gradients layer by layer:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
            "Pitfalls and how each is detected: docs/pitfalls.md.",
        ),
    ),
    "T25": ErrorCode(
        "teacher without detections",
        4,
        "The teacher's AP50 on your val split is close to 0.",
        "A teacher trained on other classes or other images, another order of classes, or images "
        "in BGR.",
        (
            "Train it on this data first:",
            "$ tutelage train --weights yolov7.pt --data data.yaml --name teacher",
            "Or continue anyway (feature methods may still help):",
            "$ tutelage train --set distill.accept_teacher=true",
        ),
    ),
    "T26": ErrorCode(
        "custom teacher or method that fails",
        4,
        "Your code raised an error, returned an unexpected type or shape, or has no usable layer. "
        "If it cannot be imported, the exit status is 2.",
        "The message quotes the error.",
        (
            "Show the traceback:",
            "$ tutelage train --debug",
            "What a teacher must return: docs/teachers.md.",
        ),
    ),
    "T27": ErrorCode(
        "weight of a method too small or too large",
        1,
        "A method's gradient is negligible or dominant, or cannot be measured. As a warning: its "
        "share is unusual, or the measured weight has changed.",
        "A weight taken from a paper with another reduction, width or image size; or frozen "
        "layers.",
        (
            "Use the measured weight (the default):",
            "$ tutelage train --method fgd",
            "Show it level by level:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
        ),
    ),
    "T28": ErrorCode(
        "distillation settings that do not fit the run",
        2,
        "A method would stop or still warm up after the last epoch, or methods and teachers do "
        "not match.",
        "stop_epoch, warmup_epochs or teacher numbers taken from another run.",
        (
            "Distil until the last epoch: omit stop_epoch, or",
            "$ tutelage train --set distill.stop_epoch=none",
        ),
    ),
    "T29": ErrorCode(
        "method that cannot be used with these networks",
        2,
        "The method needs an output that the student or the teacher does not have.",
        "For example a distribution over box edges, or features from which the head can be run.",
        ("List what each method needs:", "$ tutelage methods"),
    ),
    "T30": ErrorCode(
        "distillation that no longer helps",
        None,
        "A distillation term has not changed for three epochs, or the student has become better "
        "than its teacher.",
        "No trained parameters affect the term, the teacher's outputs are the same for every "
        "image, or the student has caught up.",
        (
            "Next time stop distillation at that epoch, or use a better teacher:",
            "$ tutelage train --set distill.stop_epoch=60",
        ),
    ),
    "T31": ErrorCode(
        "teacher changed since the run began",
        4,
        "The teacher's tensors, graph or class names are not those the run began with. A file that "
        "was only saved again is the same teacher.",
        "The file was overwritten, e.g. by a longer training of the teacher.",
        (
            "Restore the file, or start a new run from the student's weights:",
            "$ tutelage train --weights runs/distilled/best.safetensors --teacher-weights T",
        ),
    ),
    "T32": ErrorCode(
        "suspicious first batch",
        None,
        "A tapped layer is constant, the teacher has no confident prediction or seems to expect "
        "BGR images, or a method has too few images to compare.",
        "A layer of dead channels, a teacher trained on other images, or a small batch.",
        ("Check it before the run:", "$ tutelage doctor --teacher T --student S --data data.yaml"),
    ),
    "T33": ErrorCode(
        "teacher at another image size",
        None,
        "The teacher sees images much smaller or larger than those it was trained on, and finds "
        "less in them.",
        "--img-size, or the size of the student's weights, is another one.",
        (
            "Train at the teacher's size:",
            "$ tutelage train --teacher-weights runs/t --data data.yaml --img-size 640",
            "Or train a teacher at the size of the student.",
        ),
    ),
    "T38": ErrorCode(
        "teacher without a class of the data",
        None,
        "No class of the teacher has the name of a class of the data. Its AP on them cannot be "
        "measured, and methods that compare class scores cannot use it.",
        "A teacher trained on another data set, or another spelling of the names.",
        (
            "Say which classes mean the same (the student's: the teacher's):",
            "$ tutelage train --set distill.classes='{RBC: red cell, WBC: white cell}'",
            "Or let its features teach, and prove that they help:",
            "$ tutelage compare --teacher-weights T --method cwd",
        ),
    ),
    "T46": ErrorCode(
        "runtime that the teacher cannot have",
        2,
        "distill.teacher_runtime asks for what this processor, this run or this teacher does not "
        "have. If the runtime itself fails, the exit status is 4.",
        "bf16 on a processor without it, compile without a C++ compiler, a CPU runtime on a GPU, "
        "images of changing size for a compiled graph, or a teacher of another library, which "
        "always runs as its library does.",
        (
            "Let the fastest one be found:",
            "$ tutelage train --set distill.teacher_runtime=auto",
            "Teach at every second step only:",
            "$ tutelage train --set distill.every=2",
        ),
    ),
    "T47": ErrorCode(
        "runtime that changes what the teacher says",
        None,
        "On training images the teacher's scores differ from those of float32 torch by more than "
        "0.01.",
        "bfloat16 has 8 significant bits, and integers have no more.",
        (
            "Train all the same, and compare with a run of the same seed, or let only exact "
            "runtimes be chosen:",
            "$ tutelage train --set distill.teacher_runtime=auto",
        ),
    ),
}
