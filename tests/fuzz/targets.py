"""What is fuzzed: a file of a data set, of a run or of settings, and the commands that read it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.data.annotation_files import make_coco, make_voc
from tests.data.write_dataset import NAMES, make_dataset, make_scenes, write_text, write_yaml
from tests.fuzz import seeds
from tests.fuzz.command import FaultError, command
from tests.fuzz.mutation import Mutate, from_text, from_tree
from tests.fuzz.pictures import of_pictures
from tests.fuzz.pictures import seeds as picture_seeds

DEEP = 4  # each so-manieth data set is drawn and copied, too
GOOD = "0 0.5 0.5 0.25 0.5\n1 .2 .2 .1 .1 .3 .4 .1 .3\n"


class Target(NamedTuple):
    """Something to fuzz.

    Attributes:
        file: What is damaged: a file or a folder.
        put: Makes its next content.
        use: Reads it as a user would, and returns how that ended.
    """

    file: Path
    put: Callable[[random.Random], object]
    use: Callable[[Path], str]

    def round(self, rng: random.Random) -> str:
        """Put the next content, use it, and return how that ended."""
        self.put(rng)
        return self.use(self.file)


def _writing(file: Path, mutate: Mutate) -> Callable[[random.Random], object]:
    return lambda rng: file.write_bytes(mutate(rng))


def _checked(data: Path, out: Path, number: list[int]) -> str:
    """Check a data set, write the page and the cleaned copy; a second check must find no error."""
    from tutelage.cli.check import check

    number[0] += 1
    options = {"split": None, "img_size": 640, "json": number[0] % 3 == 0, "debug": False}
    if number[0] % DEEP:
        return f"checked {command(check, data=str(data), fix=None, html=None, **options)[0]}"
    fixed, page = out / f"fixed{number[0]}", out / f"{number[0]}.html"
    options = {"split": None, "img_size": 640, "json": number[0] % 3 == 0, "debug": False}
    code, text = command(check, data=str(data), fix=fixed, html=page, **options)
    if options["json"] and text.startswith("{"):
        json.loads(text, parse_constant=_no_constant)
    if page.exists() and "<script" in page.read_text():
        raise FaultError("a script in the page")
    if (fixed / "data.yaml").exists():
        again, text = command(check, data=str(fixed / "data.yaml"), fix=None, html=None, **options)
        if again and "labels-empty" not in text and "labels-missing" not in text:
            raise FaultError(f"the cleaned copy is not clean:\n{text}")
        return f"checked {code}"
    return f"refused {code}"


def _no_constant(word: str) -> None:
    raise FaultError(f"{word} in the json")


def _examined(data: Path, file: Path, mutate: Mutate, room: Path) -> Target:
    out, number = room / "out", [0]  # not in the data set: that would be refused

    def use(_: Path) -> str:
        out.mkdir()
        try:
            return _checked(data, out, number)
        finally:
            shutil.rmtree(out)

    return Target(file, _writing(file, mutate), use)


def _sound(room: Path) -> Path:
    """Write a data set without val, which would be the same images: a leak."""
    make_dataset(room / "set", {"a": GOOD, "b": GOOD})
    return write_yaml(room / "set/data.yaml", train="images/train", names=NAMES)


def labels(room: Path) -> Target:
    """YOLO label files."""
    data = _sound(room)
    texts = (
        *[GOOD.encode()] * 4,
        b"0,.5,.5,.1,.1",
        b"1 0,5 0,5 0,1 0,1\r\n",
        GOOD.encode("utf-16"),
    )
    words = (
        "0 .5 .5 .1 .1\n",
        "\t",
        ";",
        ",",
        "-",
        "e",
        "NaN",
        "\ufeff",
        "\x00",
        "\r",
        "\x85",
        "\u2028",
    )
    return _examined(data, room / "set/labels/train/a.txt", from_text(*texts, words=words), room)


def lists(room: Path) -> Target:
    """Lists of images."""
    _sound(room)
    data = write_yaml(room / "set/data.yaml", train="list.txt", names=NAMES)
    text = f"images/train/a.jpg\n./images/train/b.jpg\n{room}/set/images/train/a.jpg\n"
    words = (
        "./",
        "../",
        "/",
        "\\",
        "\x00",
        "~",
        "/etc/passwd.jpg",
        "images/train/",
        ".jpg\n",
        "\ufeff",
        "#",
    )
    return _examined(data, room / "set/list.txt", from_text(text.encode(), words=words), room)


def data_yaml(room: Path) -> Target:
    """Data yamls."""
    _sound(room)
    make_coco(room / "set/coco", 2)
    trees = (
        {"path": ".", "train": "images/train", "val": "images/train", "nc": 2, "names": NAMES},
        {
            "train": ["images/train", "coco/train"],
            "val": ["images/train"],
            "names": {0: "cat", 1: "dog"},
        },
        {
            "train": "coco/train/_annotations.coco.json",
            "val": ["coco/valid/_annotations.coco.json"],
        },
    )  # fmt: skip
    return _examined(
        room / "set/evil.yaml", room / "set/evil.yaml", from_tree(*trees, words=seeds.YAML), room
    )


def coco(room: Path) -> Target:
    """COCO jsons."""
    home = make_coco(room / "coco", 2)
    file = home / "train" / "_annotations.coco.json"
    tree = json.loads(file.read_text())
    more = {
        "iscrowd": 1,
        "segmentation": {"counts": [5, 9], "size": [48, 64]},
        "area": 9,
        "ignore": 0,
    }
    tree["annotations"].append(tree["annotations"][0] | more)
    tree["annotations"].append(
        tree["annotations"][1]
        | {"segmentation": [[1, 1, 9, 9, 1, 9]], "id": "7", "bbox": [60, 40, 9, 9]}
    )
    return _examined(home, file, from_tree(tree, words=("NaN", "{", "[", '"', "//")), room)


def voc(room: Path) -> Target:
    """Pascal VOC's XML files."""
    home = make_voc(room / "voc", 2)
    file = home / "VOC2007/Annotations/train1.xml"
    texts = (file.read_bytes(), *(text.encode() for text in seeds.XML))
    return _examined(home, file, from_text(*texts, words=seeds.XML_WORDS), room)


def image(room: Path) -> Target:
    """Image files."""
    from tutelage.data.image import read_image
    from tutelage.errors import DataError

    data = _sound(room)
    file = room / "set/images/train/a.jpg"
    target = _examined(data, file, of_pictures(picture_seeds()), room)

    def use(path: Path) -> str:
        end = target.use(path)
        try:
            read_image(path)
        except DataError:
            return f"{end}, unreadable"
        return f"{end}, read"

    return target._replace(use=use)


def hyp(room: Path) -> Target:
    """Hyper-parameter files of YOLOv7 and YOLOv5."""
    from tutelage.cli.config import config

    trees = [yaml.safe_load(text) for text in seeds.HYPS]
    empty = dict.fromkeys(("cfg", "weights", "preset", "set"))

    def use(path: Path) -> str:
        options = {**empty, "every": False, "json": False, "debug": False}
        return f"exit {command(config, run=None, hyp=str(path), **options)[0]}"

    file = room / "hyp.yaml"
    return Target(file, _writing(file, from_tree(*trees, words=seeds.YAML)), use)


def settings(room: Path) -> Target:
    """Run files and the ``config.yaml`` of a run folder."""
    from tutelage.cli.config import config
    from tutelage.config import Config

    full = Config(data="digits").model_dump(mode="json")
    small = {
        "data": "d.yaml",
        "train": {"epochs": 3},
        "distill": {"methods": [{"name": "fgd", "alpha": 1}]},
    }
    empty = dict.fromkeys(("cfg", "weights", "preset", "set", "hyp"))

    def use(path: Path) -> str:
        options = {**empty, "every": False, "json": False, "debug": False}
        return f"exit {command(config, run=str(path), **options)[0]}"

    file = room / "run.yaml"
    return Target(file, _writing(file, from_tree(full, small, words=seeds.YAML)), use)


def model(room: Path) -> Target:
    """Model yamls."""
    from tests.models.graphs import MENAGERIE, YOLOV5N6
    from tutelage.cli.layers import layers

    def use(path: Path) -> str:
        options = {"teacher": None, "img_size": 64, "json": False, "debug": False}
        return f"exit {command(layers, model=str(path), **options)[0]}"

    trees = (MENAGERIE, YOLOV5N6, yaml.safe_load(seeds.SMALL_MODEL))
    file = room / "evil.yaml"
    return Target(file, _writing(file, from_tree(*trees, words=seeds.YAML)), use)


def resume(room: Path) -> Target:
    """The files of a run folder from which it goes on."""
    from tests.fuzz.resuming import RunFolder

    run = RunFolder(room, make_scenes(room / "data", 4))
    return Target(run.evil, run.put, run.use)


TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "labels": labels, "lists": lists, "data": data_yaml, "coco": coco, "voc": voc, "image": image,
    "hyp": hyp, "config": settings, "model": model, "resume": resume,
}  # fmt: skip


def made(name: str, room: Path) -> Target:
    """Return a target with its files in an empty folder."""
    room.mkdir(parents=True, exist_ok=True)
    write_text(room / "outside.txt", "not to be read\n")
    return TARGETS[name](room)
