"""The findings of ``tutelage check``, as docs/data.md lists them: severity, what it is."""

from collections.abc import Mapping

FINDINGS: Mapping[str, tuple[str, str]] = {
    "split-unusable": ("error", "a split that cannot be opened at all"),
    "image-unusable": (
        "warning",
        "not an image, empty, truncated, under 10 pixels or missing; an error if all are",
    ),
    "image-damaged": ("warning", "a valid header, but the pixels cannot be decoded"),
    "image-dark": (
        "warning",
        "black, white or of one colour as its values are read; `train` looks at 64 images of more "
        "than 8 bits",
    ),
    "image-suffix": ("warning", "the content is in another format than the suffix"),
    "image-rotated": ("info", "EXIF rotates or mirrors it; boxes must refer to the upright image"),
    "image-repeated": ("warning", "listed more than once in a split"),
    "image-duplicate": ("warning", "the same file twice in a split"),
    "image-duplicate-near": ("info", "two images of a split that look the same"),
    "image-background": ("info", "images without a box; a warning if they are more than half"),
    "list-line": ("warning", "a line of a list that does not end in the suffix of an image"),
    "path-elsewhere": (
        "info",
        "a path of a data yaml or a list that does not exist as written, and where it was found",
    ),
    "image-outside": ("error", "a COCO `file_name` outside of the data set"),
    "split-leak": ("error", "the same file in two splits"),
    "split-leak-near": ("warning", "images of two splits that look the same"),
    "labels-missing": ("warning", "images without a label file; an error if none has one"),
    "labels-empty": ("error", "no box in any label file"),
    "label-orphan": ("warning", "a label file, or an annotation, without an image"),
    "label-malformed": (
        "error",
        "a line, XML or annotation in another form than expected, or unreadable",
    ),
    "label-not-a-number": ("error", "text, NaN or infinity instead of a number"),
    "label-class-number": (
        "error",
        "a class that is not a whole number from 0 on, or not a category",
    ),
    "label-class": ("error", "a class without a name"),
    "class-left-out": (
        "info",
        "objects of classes that are not among `names` or `data.classes`: background",
    ),
    "label-range": ("error", "coordinates outside of 0…1, or a box outside of the image"),
    "label-pixels": ("error", "coordinates in pixels where 0…1 is expected"),
    "label-shares": ("error", "COCO or VOC boxes that all lie in 0…1, where pixels are expected"),
    "label-frame": (
        "error",
        "the image size that a label file states contradicts the image; see `box_frame`",
    ),
    "label-column": ("error", "a score or a track id after the object; `--fix` drops the column"),
    "label-key-points": ("warning", "polygons that look like boxes and key points: `kpt_shape`"),
    "label-duplicate": ("warning", "the same box twice"),
    "label-no-area": ("warning", "a box without area"),
    "label-size": (
        "warning",
        "the image size in COCO or VOC differs from that of the image, but no box suffers",
    ),
    "voc-origin": ("info", "VOC corners at 0, so that pixels count from 0"),
    "label-ignored": ("info", "crowds, ignored and difficult objects"),
    "label-encoding": (
        "error",
        "UTF-16; a warning for other bytes that are not UTF-8, info for a byte order mark",
    ),
    "label-separator": ("error", "commas or semicolons; info for tabs and Windows line ends"),
    "box-clipped": ("warning", "a box or polygon that extends over the edge by more than a pixel"),
    "box-tiny": ("warning", "a side under 2 pixels at `--img-size`"),
    "class-empty": ("warning", "a class without a box"),
    "class-group": (
        "info",
        "a COCO category without annotations that only groups the others: no class",
    ),
    "class-imbalance": ("info", "the most frequent class has 10 times the boxes of the rarest"),
    "names-differ": (
        "error",
        "the splits have different classes; a warning if a `classes.txt` differs",
    ),
    "names-similar": (
        "warning",
        "class names that differ in case, spaces, hyphens or underscores alone: `RBC` and `rbc`",
    ),
    "link-loop": ("warning", "a link to a parent folder, or a broken link"),
    "unlabelled-val": (
        "warning",
        "validation images among those of `distill.images`, found by `tutelage train`",
    ),
    "unlabelled-test": (
        "warning",
        "test images among those of `distill.images`, found by `tutelage train`",
    ),
}
