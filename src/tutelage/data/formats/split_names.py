"""The names of splits: which word in a file, folder or key means train, val or test."""

from __future__ import annotations

import re

# as COCO, VOC, Roboflow, CVAT, Datumaro, Kaggle and the corpora of text recognition call them
_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test-dev": "test",
    "test-challenge": "test",
    "test": "test",
    "testing": "test",
}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(_WORDS, reverse=True))})(?![a-z])", re.IGNORECASE)


def split_of(name: str) -> str | None:
    """Return the split that a name as a whole stands for: ``Train``, ``val2017``, ``test-dev``.

    Upper and lower case are the same; a number at the end, as of a year, does not matter.
    """
    return _WORDS.get(re.sub(r"[-_ ]?\d+$", "", name).lower())


def split_in(name: str) -> str | None:
    """Return the split whose word a name contains: ``instances_Train2017``; None if none or two."""
    found = {_WORDS[word.lower()] for word in _WORD.findall(name)}
    return found.pop() if len(found) == 1 else None


def without_split(name: str) -> str:
    """Return a name with the words of splits replaced, to find the same name of other splits."""
    return _WORD.sub("*", name).lower()
