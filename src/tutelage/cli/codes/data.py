"""Codes of data sets: exit status 3."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

DATA: Mapping[str, ErrorCode] = {
    "D00": ErrorCode(
        "data that cannot be used",
        3,
        "The data set has faults of several kinds, or one that has no code of its own.",
        "Each line of the message is one kind with its first example.",
        ("List all of them, with examples and what to do:", "$ tutelage check data.yaml"),
    ),
    "D01": ErrorCode(
        "bad data yaml",
        3,
        "The data yaml is no valid yaml, lacks something, or names what is not there.",
        "No names, an nc that is not their number, numbers with a gap, a name that yaml reads as "
        "true or false, a path that does not exist.",
        (
            "A data yaml needs:",
            "  train: images/train   # folders or lists, as seen from the yaml",
            "  val: images/val",
            "  names: [cat, dog]",
            "$ tutelage check data.yaml",
        ),
    ),
    "D02": ErrorCode(
        "labels missing",
        3,
        "Images have no label file. If none has one it is an error; if some have, a warning: those "
        "without count as background.",
        "Labels of another format, in another place, or not exported. images/x/a.jpg has "
        "labels/x/a.txt; without a folder named images, a.txt lies beside it.",
        (
            "See which are missing, and what lies there instead:",
            "$ tutelage check data.yaml",
            "Pascal VOC and COCO are read as they are:",
            "$ tutelage train --data path/to/VOC",
            "$ tutelage train --data annotations/instances_train.json",
        ),
    ),
    "D03": ErrorCode(
        "label lines that cannot be used",
        3,
        "Lines of label files are not  class x y w h  with numbers from 0 to 1, or not a polygon.",
        "Coordinates in pixels, corners instead of centre and size, commas or text in the line, an "
        "encoding such as UTF-16, a cut-off file.",
        (
            "List all of them, by kind:",
            "$ tutelage check data.yaml",
            "Write a cleaned copy of the labels; the originals stay:",
            "$ tutelage check data.yaml --fix ../cleaned",
        ),
    ),
    "D04": ErrorCode(
        "classes that do not fit the names",
        3,
        "A label has a class that the data set does not name, or its splits name other classes.",
        "Classes counted from 1 instead of 0, a name left out of the yaml, labels of another "
        "project, or two exports with another order of classes.",
        (
            "Mend the labels, or name all classes in the data yaml in one order:",
            "  names: [cat, dog, bird]",
            "$ tutelage check data.yaml",
        ),
    ),
    "D22": ErrorCode(
        "no such data set",
        3,
        "The path is not there, cannot be read, or is nothing that is known as a data set.",
        "A typing error, a path as seen from another folder, or a file of another kind.",
        (
            "A data set is a data yaml, a COCO json, a folder of COCO or Pascal VOC, or digits:",
            "$ tutelage check data.yaml",
        ),
    ),
    "D23": ErrorCode(
        "split missing",
        3,
        "The data set has no train, val or test part, and this command needs it.",
        "The data yaml does not name it, or the folder or json has no sibling of that name.",
        (
            "Name the parts in a data yaml:",
            "  train: images/train",
            "  val: images/val",
            "Evaluate on another part:",
            "$ tutelage val runs/distilled --split val",
        ),
    ),
    "D24": ErrorCode(
        "no usable images",
        3,
        "A folder or list holds no image, or none that can be opened.",
        "A wrong folder, an unusual ending, files that were not copied to the end, or entries of a "
        "list that lead out of the data set.",
        ("See each with its reason:", "$ tutelage check data.yaml"),
    ),
    "D25": ErrorCode(
        "COCO json that cannot be used",
        3,
        "The json is damaged, is not of the form of COCO, or does not fit the others.",
        "A cut-off download, another format of json, categories that differ between splits, or "
        "several jsons that could be meant.",
        (
            "It needs the lists images, annotations and categories; name the files in a data yaml:",
            "  train: annotations/instances_train.json",
            "  val: annotations/instances_val.json",
            "$ tutelage check data.yaml",
        ),
    ),
    "D26": ErrorCode(
        "no box to learn from",
        3,
        "There is not one box in the training images.",
        "Empty label files, labels of another part, or objects that are all marked difficult, "
        "crowd or ignored.",
        ("$ tutelage check data.yaml",),
    ),
    "D27": ErrorCode(
        "images that cannot be read any more",
        3,
        "Images that were sound when the data set was scanned cannot be read now, or have another "
        "size. A few are told and replaced by others (a warning); too many end the run.",
        "Files that were changed or removed during a run, or a disk or network share that fails.",
        (
            "Put the images back, then go on from the last save:",
            "$ tutelage train --resume runs/distilled",
        ),
    ),
    "D33": ErrorCode(
        "data of a resumed run have changed",
        3,
        "A run goes on with the images and boxes with which it began, wherever they lie: order, "
        "schedule and best epoch hold for these.",
        "Images or labels that were added, removed, renamed or edited; other data in the same "
        "place.",
        (
            "Put the data back as they were, then:",
            "$ tutelage train --resume runs/distilled",
            "They lie elsewhere now:",
            "$ tutelage train --resume runs/distilled --data new/place/data.yaml",
            "Or begin with the new data, from the weights so far:",
            "$ tutelage train --data data.yaml --weights runs/distilled/best.safetensors",
        ),
    ),
    "D28": ErrorCode(
        "nothing to predict on",
        3,
        "What was given is no image, no video, no folder and no pattern of these, or none of it "
        "can be read.",
        "A typing error, an address (nothing is fetched), or a damaged file.",
        ("$ tutelage predict runs/distilled photos/ --save out/",),
    ),
    "D29": ErrorCode(
        "built-in data set that cannot be made",
        3,
        "The images of the built-in digits cannot be written.",
        "A full or read-only folder of caches.",
        ("$ tutelage train --data digits", "$ tutelage train --data digits:easy"),
    ),
    "D34": ErrorCode(
        "held-out images among the unlabelled",
        None,
        "Images of the validation or test split are among those without labels that the student "
        "learns from, so that its scores on that split will flatter.",
        "A folder of all images given as distill.images. The findings are unlabelled-val and "
        "unlabelled-test.",
        (
            "Take them out of the folder, or give one without them:",
            "$ tutelage train --set distill.images=unlabelled/",
        ),
    ),
}
