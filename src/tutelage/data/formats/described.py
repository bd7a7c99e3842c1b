"""A data yaml: its images may be labelled as in YOLO, COCO or Pascal VOC."""

from __future__ import annotations

from pathlib import Path

from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.coco import open_coco
from tutelage.data.formats.data_yaml import describe, read_named
from tutelage.data.formats.voc import VocImages, looks_like_voc, open_voc
from tutelage.data.formats.yolo import open_yolo
from tutelage.errors import DataError


def open_described(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a data yaml.

    Jsons are COCO's. Images that have XML files and no YOLO labels are Pascal VOC's.

    Raises:
        DataError: The yaml, or something that it names, cannot be used at all.
    """
    named = read_named(path, split)
    jsons = [source for source in named.sources if source.suffix.lower() == ".json"]
    if jsons:
        if len(jsons) < len(named.sources):
            raise DataError(
                f"{split} mixes COCO jsons with other sources.", where=path.name, code="D01"
            )
        return open_coco(
            jsons,
            split,
            source=str(path),
            root=named.root,
            names=named.names,
            bases=named.bases[:2],
            single_class=single_class,
        )
    described = describe(named, split)
    if not looks_like_voc(described.images):
        return open_yolo(described, split, single_class=single_class)
    return open_voc(
        VocImages(described.images, described.sources),
        split,
        source=str(path),
        root=named.root,
        names=named.names,
        repeated=described.repeated,
        single_class=single_class,
    )
