"""The images without labels of a distilled run; warns of those that are in val or test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex, open_dataset, open_images
from tutelage.data.index import Finding
from tutelage.errors import ConfigError, DataError

HELD_OUT = {"unlabelled-val": "validation", "unlabelled-test": "test"}  # findings and splits


def open_unlabelled(config: Config, val: DatasetIndex) -> DatasetIndex | None:
    """Open the images without labels of a distilled run, if there are any.

    Args:
        config: All settings.
        val: If these, or the test images, are among them, the index gets a warning.

    Raises:
        DataError: The folder cannot be used.
        ConfigError: They cannot be mixed into such batches.
    """
    if config.distill.images is None or not config.distill.teachers:
        return None
    if config.train.rect:
        raise ConfigError(
            "distill.images cannot be mixed into batches of similar shape.",
            fix="Drop --rect.",
            code="C30",
        )
    index = open_images(config.distill.images, val.names)
    findings = (*index.findings, *_held_out(index, config, val))
    return replace(index, findings=findings, image_range=config.train.image_range)


def _held_out(index: DatasetIndex, config: Config, val: DatasetIndex) -> Iterator[Finding]:
    splits = [val]
    with suppress(DataError):  # there is none, or it is reported when it is used
        splits.append(open_dataset(str(config.data), "test", strict=False))
    files = _files(index)
    for (code, name), other in zip(HELD_OUT.items(), splits, strict=False):
        if count := len(files & _files(other)):
            text = (
                f"{count} {name} image{'s' * (count > 1)} among the unlabelled of {index.source}: "
                f"{name} scores will flatter. Take them out of  distill.images"
            )
            yield Finding(code, "warning", text, (), count)


def _files(index: DatasetIndex) -> set[str]:
    """Return the image files, symbolic links resolved."""
    return {os.path.realpath(index.path(position)) for position in range(len(index))}


def files_by_id(labelled: DatasetIndex, unlabelled: DatasetIndex | None) -> Callable[[int], str]:
    """Return a function that maps the id of an image in a batch to its file."""

    def file(number: int) -> str:
        if number < len(labelled) or unlabelled is None:
            return str(labelled.path(number))
        return str(unlabelled.path(number - len(labelled)))

    return file
