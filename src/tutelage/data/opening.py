"""From what the user calls his data to an index."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tutelage.data.cache import cache_root
from tutelage.data.formats import FORMATS
from tutelage.data.index import DatasetIndex
from tutelage.errors import DataError, nearest

BUILT_IN: tuple[Literal["digits", "digits:easy"], ...] = ("digits", "digits:easy")

Split = Literal["train", "val", "test"]


def open_dataset(
    data: str | Path, split: Split, *, single_class: bool = False, strict: bool = True
) -> DatasetIndex:
    """Open one split of a data set.

    Args:
        data: A data yaml, or ``digits`` or ``digits:easy`` for the built-in handwritten digits.
        split: ``train``, ``val`` or ``test``.
        single_class: Treat all classes as one.
        strict: Raise if there is an error among the findings; otherwise leave that to the caller.

    Raises:
        DataError: The data cannot be used; all errors are told at once.
    """
    index = _open(data, split, single_class=single_class)
    errors = [finding for finding in index.findings if finding.severity == "error"]
    if strict and errors:
        if len(errors) == 1:
            raise DataError(errors[0].message, fix=errors[0].fix)
        fixes = dict.fromkeys(finding.fix for finding in errors if finding.fix)
        raise DataError("\n".join(finding.message for finding in errors), fix="\n".join(fixes))
    return index


def _open(data: str | Path, split: Split, *, single_class: bool) -> DatasetIndex:
    for variant in BUILT_IN:
        if data == variant:
            from tutelage.data.digits import build  # needs scikit-learn, an extra

            path = build(cache_root(), variant=variant)
            return FORMATS[".yaml"](path, split, single_class=single_class)
    path = Path(data).expanduser()
    opener = FORMATS.get(path.suffix.lower())
    if opener is None and path.is_dir():
        opener = FORMATS[".yaml"]  # says which yaml inside was meant
    if opener is None:
        known = " ".join(FORMATS)
        raise DataError(
            f"{data} is no data set that is known here: expected a file ending in {known}, "
            f"or one of {', '.join(BUILT_IN)}.",
            fix=nearest(str(data), BUILT_IN),
        )
    return opener(path, split, single_class=single_class)
