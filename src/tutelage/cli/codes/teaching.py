"""Codes of teachers, layers and methods: exit status 2 for settings, 4 for the teacher itself."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

TEACHING: Mapping[str, ErrorCode] = {
    "T00": ErrorCode(
        "teacher that cannot teach",
        4,
        "The teacher cannot teach this student on this data.",
        "The message says what was found.",
        (
            "Examine teacher, student and data without training:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
        ),
    ),
    "T06": ErrorCode(
        "layers that do not exist",
        2,
        "The student or the teacher has no layer of that number, or the layer has no features.",
        "Numbers of another network, student and teacher exchanged, or a layer named twice.",
        (
            "List the layers of both, with the pairs that fit:",
            "$ tutelage layers yolov7-tiny --teacher yolov7.pt",
            "Without --student-kd-layers and --teacher-kd-layers p3, p4 and p5 are paired.",
        ),
    ),
    "T07": ErrorCode(
        "unequal numbers of layers",
        2,
        "Student and teacher layers are paired in the order in which they are given, and there are "
        "more of one than of the other.",
        "A layer was left out of one of the lists.",
        (
            "Add the partner that the message names, or leave one list out: it is found by stride.",
            "$ tutelage layers yolov7-tiny --teacher yolov7.pt",
        ),
    ),
    "T08": ErrorCode(
        "layers whose strides differ",
        2,
        "The maps of a pair have another number of cells, so that their places do not agree.",
        "Layers of different depth were paired, or one network has no level of that stride.",
        (
            "Pair layers of equal stride:",
            "$ tutelage layers yolov7-tiny --teacher yolov7.pt",
            "Or let the student's map be resized:",
            "$ tutelage train --set distill.resize=true",
        ),
    ),
    "T09": ErrorCode(
        "classes that do not fit",
        2,
        "A method compares class scores, but teacher and student know other classes.",
        "A teacher trained on another data set (e.g. the 80 classes of COCO), or another spelling.",
        (
            "Compare features instead:",
            "$ tutelage train --method fgd",
            "Or say which classes mean the same (the student's: the teacher's):",
            "$ tutelage train --set distill.classes=by-name",
            "$ tutelage train --set 'distill.classes={RBC: red cell}'",
        ),
    ),
    "T21": ErrorCode(
        "teacher worse than the student",
        None,
        "On your val split the teacher scores less than the student does before its first step.",
        "A teacher that was trained on other data, beside a student that starts from good weights. "
        "Distillation would pull the student down to it.",
        (
            "Train the teacher on this data first:",
            "$ tutelage train --weights yolov7.pt --data data.yaml --name teacher",
            "$ tutelage train --teacher-weights runs/teacher --data data.yaml",
        ),
    ),
    "T22": ErrorCode(
        "no such distillation method",
        2,
        "The text is no method, no class that can be imported, or not of the form "
        "name:option=value.",
        "A typing error, an option given twice, or a module that Python does not find.",
        (
            "$ tutelage methods",
            "$ tutelage train --method fgd:alpha=0.002,weight=2",
            "$ tutelage train --method my_package.kd:Mine",
        ),
    ),
    "T23": ErrorCode(
        "teacher of another library that cannot be opened",
        4,
        "The network of torchvision, transformers or Ultralytics is not known, not on this "
        "machine, or not whole. Where the name alone is wrong, the exit status is 2.",
        "A typing error, weights that were never downloaded (nothing is fetched unless a hub id is "
        "named), or a network for another task.",
        ("The sources and their names are in docs/teachers.md.",),
    ),
    "T24": ErrorCode(
        "distillation would not reach the student",
        4,
        "On the first training batch a term of distillation was 0 or not finite, a part had no "
        "gradient, was in no optimizer, or the teacher changed.",
        "A method or teacher of your own, frozen layers, or weights that were not loaded.",
        (
            "Examine the wiring layer by layer:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
            "The pitfalls and how each is found are in docs/pitfalls.md.",
        ),
    ),
    "T25": ErrorCode(
        "teacher that finds nothing",
        4,
        "The teacher's AP50 on your val split is next to 0: it has nothing to teach here.",
        "A teacher trained on other classes or other images, another order of classes, or images "
        "in BGR.",
        (
            "Train it on this data first:",
            "$ tutelage train --weights yolov7.pt --data data.yaml --name teacher",
            "Or go on all the same (feature methods may still help):",
            "$ tutelage train --set distill.accept_teacher=true",
        ),
    ),
    "T26": ErrorCode(
        "teacher or method of your own that fails",
        4,
        "Your own code raised an error, returned something else than agreed, or has no usable "
        "layer. Where it cannot be imported at all, the exit status is 2.",
        "The message quotes the error.",
        (
            "See the traceback:",
            "$ tutelage train --debug",
            "What a teacher must return is in docs/teachers.md.",
        ),
    ),
    "T27": ErrorCode(
        "weight of a method out of proportion",
        1,
        "A method's part of the loss is next to nothing or everything, or its gradient cannot be "
        "measured. As a warning: the share is unusual, or the measured weight has moved.",
        "A weight taken from a paper, where another reduction, width or image size made it fit; or "
        "layers that are frozen.",
        (
            "Let the weight be measured:",
            "$ tutelage train --method fgd",
            "See what it would be, level by level:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
        ),
    ),
    "T28": ErrorCode(
        "teaching that does not fit the run",
        2,
        "A method would stop after the end or rise until it, or methods and teachers do not match.",
        "stop_epoch, warmup_epochs or teacher numbers of another run.",
        (
            "Teach to the end: leave stop_epoch out, or",
            "$ tutelage train --set distill.stop_epoch=none",
        ),
    ),
    "T29": ErrorCode(
        "method that cannot be used with these networks",
        2,
        "The method needs something that the student or the teacher does not give.",
        "For example a distribution of box edges, or layers from which the head can be run.",
        ("See what each method needs:", "$ tutelage methods"),
    ),
    "T30": ErrorCode(
        "teaching that no longer helps",
        None,
        "A term of distillation has not moved for three epochs, or the student has become better "
        "than its teacher.",
        "Nothing trains behind the term, the teacher says the same of every image, or the teacher "
        "has taught what it knows.",
        (
            "Next time stop teaching at that epoch, or take a better teacher:",
            "$ tutelage train --set distill.stop_epoch=60",
        ),
    ),
    "T31": ErrorCode(
        "teacher changed since the run began",
        4,
        "The teacher's file is not the one with which the run began (its hash differs).",
        "The file was overwritten, e.g. by a longer training of the teacher.",
        (
            "Put the file back, or start a new run from the student's weights:",
            "$ tutelage train --weights runs/distilled/best.safetensors --teacher-weights T",
        ),
    ),
    "T32": ErrorCode(
        "something odd in the first batch",
        None,
        "A tapped layer is constant, the teacher is sure of nothing, seems to expect BGR images, "
        "or a method has too few images to compare.",
        "A layer of dead channels, a teacher of other images, or a small batch.",
        (
            "Examine it before the run:",
            "$ tutelage doctor --teacher T --student S --data data.yaml",
        ),
    ),
}
