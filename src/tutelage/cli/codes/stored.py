"""Codes of stored teaching: exit status 4."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

STORED: Mapping[str, ErrorCode] = {
    "T42": ErrorCode(
        "store of a later version",
        4,
        "A store of teaching was written in a format that this version of tutelage does not know.",
        "Another machine, or another environment, has a later version.",
        (
            "Update this one:",
            "$ pip install -U tutelage",
            "Or let this version make a store of its own elsewhere, with distill.store.",
        ),
    ),
}
