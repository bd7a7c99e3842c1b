"""Bytes that atheris chooses by what they reach: the parsers alone, thousands a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from tests.fuzz import seeds


def _labels(content: bytes) -> None:
    from tutelage.data.check.label_encoding import plain_text
    from tutelage.data.formats.yolo_labels import parse_labels

    for text in (content.decode("utf-8-sig", "replace"), plain_text(content)):
        rows, bad = parse_labels(text)
        for row in rows:
            left, top, right, bottom = row.xyxy
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
        assert all(line.text.isprintable() for line in bad)


def _voc(content: bytes) -> None:
    from tutelage.data.formats.voc import parse_voc

    rows, bad = parse_voc(content, (64, 48))
    assert all(0 <= value <= 1 for row in rows for value in row.xyxy)
    assert all(line.text.isprintable() for line in bad)


def _data(content: bytes) -> None:
    from tutelage.config.yaml_reader import load_yaml

    try:
        load_yaml(content.decode("utf-8", "replace"))
    except yaml.YAMLError:
        return


def _coco(content: bytes) -> None:
    from tutelage.data.formats.coco import read_coco
    from tutelage.errors import DataError

    path = Path("guided.json")
    path.write_bytes(content)
    try:
        read_coco(path)
    except DataError:
        return


PARSERS: Mapping[str, Callable[[bytes], None]] = {
    "labels": _labels,
    "voc": _voc,
    "data": _data,
    "coco": _coco,
}
_SEEDS: Mapping[str, tuple[str, ...]] = {
    "labels": ("0 .5 .5 .1 .1\n1 .1 .1 .2 .2 .1 .3\n", "0 0,5 0,5 0,1 0,1", "0;.5;.5;.1;.1"),
    "voc": seeds.XML,
    "data": ("train: a\nval: [b]\nnames: {0: x, 1: y}\nnc: 2\n", "a: &a [1]\nb: *a\n"),
    "coco": (
        '{"images":[{"id":1,"file_name":"a.jpg","width":9,"height":9}],"categories":[{"id":1,'
        '"name":"x"}],"annotations":[{"image_id":1,"category_id":1,"bbox":[1,1,2,2]}]}',
    ),
}


def guided(name: str, place: Path, runs: int) -> None:
    """Fuzz one parser; ends the process, with exit code 77 if something was found.

    Args:
        name: Of :data:`PARSERS`.
        place: A folder for the seeds.
        runs: How often.
    """
    import atheris

    corpus = place / "corpus"
    corpus.mkdir()
    for number, text in enumerate(_SEEDS[name]):
        (corpus / str(number)).write_text(text)
    with atheris.instrument_imports(include=["tutelage", "yaml", "json"]):
        PARSERS[name](_SEEDS[name][0].encode())
    options = [f"-runs={runs}", "-rss_limit_mb=4000", "-timeout=20", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], PARSERS[name])
    atheris.Fuzz()
