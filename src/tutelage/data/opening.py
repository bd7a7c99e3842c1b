"""Opens data sets: from a value of ``--data`` to the index of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tutelage.data.array_cache import cache_root
from tutelage.data.bit_depth import ImageRange
from tutelage.data.digits import VARIANTS, build
from tutelage.data.findings import Finding, code_of
from tutelage.data.formats import FOLDER, FORMATS
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.chosen_classes import choose_classes
from tutelage.data.index import DatasetIndex, Split
from tutelage.errors import ConfigError, DataError, combine_codes, nearest


def open_dataset(
    data: str | Path,
    split: Split,
    *,
    single_class: bool = False,
    classes: Sequence[str] = (),
    strict: bool = True,
    image_range: ImageRange | None = None,
) -> DatasetIndex:
    """Open one split of a data set.

    Args:
        data: A data yaml, a COCO json, a folder of a COCO or Pascal VOC data set, or ``digits`` or
            ``digits:easy`` for the built-in handwritten digits.
        split: ``train``, ``val`` or ``test``.
        single_class: Treat all classes as one.
        classes: Keep these classes only, in this order; empty: all. Objects of others are left
            out, with a finding.
        strict: Raise if there is an error among the findings.
        image_range: The values that are black and white in images of more than 8 bits.

    Raises:
        DataError: The data cannot be used; all errors are reported at once.
        ConfigError: A class of ``classes`` does not exist.
    """
    index = open_split(data, split, single_class=single_class, classes=classes).index
    if strict:
        _raise_errors(index.findings)
    return replace(index, image_range=image_range)


def open_splits(
    data: str | Path,
    *splits: Split,
    single_class: bool = False,
    classes: Sequence[str] = (),
    image_range: ImageRange | None = None,
) -> tuple[DatasetIndex, ...]:
    """Open several splits of a data set; see :func:`open_dataset`.

    Raises:
        DataError: One of them cannot be used; the errors of all are reported at once.
    """
    indices = tuple(
        open_split(data, split, single_class=single_class, classes=classes).index
        for split in splits
    )
    _raise_errors([finding for index in indices for finding in index.findings])
    first = indices[0]
    for index in indices:
        if index.names != first.names:
            raise DataError(
                f"The classes of {first.split} and {index.split} differ: "
                f"{', '.join(first.names)} and {', '.join(index.names)}.",
                fix="Give one order for all in a data yaml:  names: [...]",
                code="D04",
            )
    return tuple(replace(index, image_range=image_range) for index in indices)


def open_split(
    data: str | Path,
    split: Split,
    *,
    single_class: bool = False,
    classes: Sequence[str] = (),
) -> OpenedSplit:
    """Open one split with its scan, for ``tutelage check``; see :func:`open_dataset`.

    Raises:
        DataError: The data cannot be used at all.
        ConfigError: A class of ``classes`` does not exist.
    """
    if classes:
        opened = open_split(data, split)
        _check_classes(classes, opened.index.names, str(data))
        return choose_classes(opened, classes, single_class=single_class)
    if data in VARIANTS:
        path = build(cache_root(), variant=str(data))
        return FORMATS[".yaml"](path, split, single_class=single_class)
    path = Path(data).expanduser()
    opener = FORMATS.get(FOLDER if path.is_dir() else path.suffix.lower())
    if opener is None:
        known = "is no data set that is known here"
        what = f"{data} {known if path.exists() else 'does not exist'}"
        endings = " ".join(suffix for suffix in FORMATS if suffix != FOLDER)
        fix = f"Expected a file ending in {endings}, a folder of COCO or Pascal VOC, or one of "
        fix += f"{', '.join(VARIANTS)}."
        fix = f"{nearest(str(data), VARIANTS)} {fix}".strip()
        raise DataError(f"{what}.", fix=fix, code="D22")
    return opener(path, split, single_class=single_class)


def _check_classes(classes: Sequence[str], known: Sequence[str], data: str) -> None:
    for number, name in enumerate(classes):
        what = ""
        if name not in known:
            what = f"train.classes: {data} has no class {name!r}"
        elif name in classes[:number]:
            what = f"train.classes: {name!r} stands twice"
        if what:
            fix = f"{nearest(name, known)} It has: {', '.join(known)}".strip()
            raise ConfigError(what, fix=fix, code="C25")


def _raise_errors(findings: Iterable[Finding]) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        codes = {finding.message: code_of(finding) for finding in errors}
        code, marks = combine_codes(codes.values(), DataError.code)
        lines = [f"{mark}{message}" for mark, message in zip(marks, codes, strict=True)]
        fixes = dict.fromkeys(finding.fix for finding in errors if finding.fix)
        raise DataError("\n".join(lines), fix="\n".join(fixes), code=code)
