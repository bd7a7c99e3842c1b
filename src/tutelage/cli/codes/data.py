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
        "The data yaml is not valid yaml, lacks a required key, or names a path that does not "
        "exist.",
        "No names, an nc that differs from their count, class numbers with a gap, a name that "
        "yaml reads as true or false, a path that does not exist.",
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
        "Images have no label file. If none has one it is an error; if some have, a warning: "
        "those without count as background.",
        "Labels of another format, in another place, or not exported. images/x/a.jpg has "
        "labels/x/a.txt; without a folder named images, a.txt is beside it.",
        (
            "List the missing ones, and what is there instead:",
            "$ tutelage check data.yaml",
            "Pascal VOC and COCO are read as they are:",
            "$ tutelage train --data path/to/VOC",
            "$ tutelage train --data annotations/instances_train.json",
        ),
    ),
    "D03": ErrorCode(
        "label lines that cannot be used",
        3,
        "Lines of label files are neither  class x y w h  with numbers from 0 to 1, nor a polygon, "
        "nor what kpt_shape in the data yaml says.",
        "Coordinates in pixels, corners instead of centre and size, commas or text in the line, "
        "scores or track ids at its end, key points without kpt_shape, an encoding such as UTF-16, "
        "a cut-off file.",
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
        "A label has a class that the data set does not name, or the splits have different class "
        "names.",
        "Classes counted from 1 instead of 0, a name left out of the yaml, labels of another "
        "project, or two exports with another order of classes.",
        (
            "Correct the labels, or name all classes in the data yaml in one order:",
            "  names: [cat, dog, bird]",
            "$ tutelage check data.yaml",
        ),
    ),
    "D22": ErrorCode(
        "no such data set",
        3,
        "The path does not exist, cannot be read, or is not a known kind of data set.",
        "A typing error, a path relative to another folder, or a file of another kind.",
        (
            "A data set is a data yaml, a COCO json, a folder of COCO or Pascal VOC, or digits:",
            "$ tutelage check data.yaml",
        ),
    ),
    "D23": ErrorCode(
        "split missing",
        3,
        "The data set has no train, val or test split, and this command needs it.",
        "The data yaml does not name it, or the folder or json has no sibling of that name.",
        (
            "Name the splits in a data yaml:",
            "  train: images/train",
            "  val: images/val",
            "Evaluate on another split:",
            "$ tutelage val runs/distilled --split val",
        ),
    ),
    "D24": ErrorCode(
        "no usable images",
        3,
        "A folder or list contains no image, or none that can be opened.",
        "A wrong folder, an unknown suffix, incomplete copies, or list entries that point outside "
        "of the data set.",
        ("List each image with its reason:", "$ tutelage check data.yaml"),
    ),
    "D25": ErrorCode(
        "COCO json that cannot be used",
        3,
        "The json is damaged, is not in COCO format, or contradicts the json of another split.",
        "A truncated download, another json format, categories that differ between splits, or "
        "more than one candidate file.",
        (
            "It needs the lists images, annotations and categories; name the files in a data yaml:",
            "  train: annotations/instances_train.json",
            "  val: annotations/instances_val.json",
            "$ tutelage check data.yaml",
        ),
    ),
    "D26": ErrorCode(
        "no training boxes",
        3,
        "The training images have no boxes.",
        "Empty label files, labels of another split, or objects that are all marked difficult, "
        "crowd or ignored.",
        ("$ tutelage check data.yaml",),
    ),
    "D27": ErrorCode(
        "images that can no longer be read",
        3,
        "Images that could be read when the data set was scanned cannot be read now, or have "
        "another size. A few are reported and replaced by other images (a warning); too many end "
        "the run.",
        "Files changed or removed during the run, or a failing disk or network share.",
        (
            "Restore the images, then continue from the last save:",
            "$ tutelage train --resume runs/distilled",
        ),
    ),
    "D33": ErrorCode(
        "data of a resumed run changed",
        3,
        "A resumed run needs the images and boxes it began with, in whatever folder: batch order, "
        "schedule and best epoch depend on them.",
        "Images or labels were added, removed, renamed or edited, or the folder contains other "
        "data.",
        (
            "Restore the data, then:",
            "$ tutelage train --resume runs/distilled",
            "If they were moved:",
            "$ tutelage train --resume runs/distilled --data new/place/data.yaml",
            "Or start a new run on the new data, from the weights so far:",
            "$ tutelage train --data data.yaml --weights runs/distilled/best.safetensors",
        ),
    ),
    "D28": ErrorCode(
        "nothing to predict on",
        3,
        "The source is not an image, a video, a folder or a glob pattern of these, a camera or a "
        "stream, or none of it can be read.",
        "A typing error, a damaged file, a picture on the web (download it first), or a camera or "
        "stream that cannot be opened.",
        (
            "$ tutelage predict runs/distilled photos/ --save out/",
            "A camera by its number, a stream by its address:",
            "$ tutelage predict runs/distilled 0",
        ),
    ),
    "D29": ErrorCode(
        "built-in data set that cannot be written",
        3,
        "The images of the built-in digits cannot be written.",
        "The cache folder is full or read-only.",
        ("$ tutelage train --data digits", "$ tutelage train --data digits:easy"),
    ),
    "D34": ErrorCode(
        "held-out images among the unlabelled",
        None,
        "Images of the validation or test split are among the unlabelled training images, so that "
        "the scores on that split will be too high.",
        "A folder of all images given as distill.images. The findings are unlabelled-val and "
        "unlabelled-test.",
        (
            "Remove them from the folder, or give a folder without them:",
            "$ tutelage train --set distill.images=unlabelled/",
        ),
    ),
    "D35": ErrorCode(
        "images that are nearly black or white",
        None,
        "The values of images use less than a fifteenth of their range, or lie outside of it, so "
        "that a network sees next to nothing. The finding is image-dark.",
        "12 bits stored in 16 (thermal cameras, X-rays), or numbers from 0 to 1. The largest "
        "number of 16 bits is white; wider integers and floats are taken as if they had 8 bits.",
        (
            "Say which values are black and white; the weights of the run remember it:",
            "$ tutelage train --set train.image_range=0,4095",
        ),
    ),
}
