"""The same image twice: byte for byte, or by its looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.check.image_stats import ImageStats
from tutelage.data.findings import Finding, Severity, gather
from tutelage.data.formats.build_index import OpenedSplit

NEAR = 8  # of 128 bits; other images differ in more, copies of other size or quality in fewer
COMPARED = 50  # of those that share a band of bits, with how many each is compared
ALIKE = 0.95  # correlation of greys: images of few edges may share the bits, and nothing else

_LEAK = "Keep each image in one split: scores on images seen in training say nothing."
_KINDS: tuple[tuple[str, str, str, Severity, Severity], ...] = (
    ("", "same", "are the same file", "error", "warning"),
    ("-near", "near", "look the same", "warning", "info"),
)


class Duplicates(NamedTuple):
    """Pairs of images, numbered through all splits.

    Attributes:
        same: ``(k, 2)`` int64, byte for byte: the first of its kind, and another.
        near: ``(k, 2)`` int64, those that only look the same.
    """

    same: NDArray[np.int64]
    near: NDArray[np.int64]


def find_twins(looks: Sequence[ImageStats]) -> Duplicates:
    """Compare all images of all splits, in the order train, val, test."""
    digests = np.concatenate([one.digests for one in looks])
    known = digests.any(axis=1)
    same = _same(digests, np.flatnonzero(known))
    hashes = np.concatenate([one.hashes for one in looks])
    comparable = np.concatenate([one.comparable for one in looks])
    comparable[same[:, 1]] = False
    near = _near(hashes, np.flatnonzero(comparable))
    grids = np.concatenate([one.grids for one in looks])
    return Duplicates(same, near[_correlation(grids[near[:, 0]], grids[near[:, 1]]) >= ALIKE])


def notice_twins(splits: Sequence[OpenedSplit], twins: Duplicates) -> Iterator[Finding]:
    """Yield copies within a split, and those that leak from one split into another."""
    starts = np.cumsum([0, *(len(opened.listed.images) for opened in splits)])

    def told(pair: Sequence[int]) -> str:
        numbers = (np.searchsorted(starts, pair, side="right") - 1).tolist()
        names = [
            splits[number].listed.short(splits[number].listed.images[i - starts[number]])
            for number, i in zip(numbers, pair, strict=True)
        ]
        return f"{names[0]} ({splits[numbers[0]].listed.split}) and {names[1]} " + (
            f"({splits[numbers[1]].listed.split})"
        )

    for mark, pairs, verb, across, within in _KINDS:
        chosen = getattr(twins, pairs)
        numbers = np.searchsorted(starts, chosen, side="right")
        leaks = numbers[:, 0] != numbers[:, 1]
        if leaks.any():
            cases = map(told, chosen[leaks].tolist())
            what = f"Pairs of images of different splits that {verb}"
            yield gather(f"split-leak{mark}", across, what, cases, int(leaks.sum()), _LEAK)
        if not leaks.all():
            cases = map(told, chosen[~leaks].tolist())
            what = f"Pairs of images of one split that {verb}"
            yield gather(f"image-duplicate{mark}", within, what, cases, int((~leaks).sum()))


def _same(values: NDArray[np.uint64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of members with equal values, the first member that has a value always first."""
    _, first, group = np.unique(values[members], axis=0, return_index=True, return_inverse=True)
    firsts = first[group.reshape(-1)]
    again = np.flatnonzero(firsts != np.arange(len(members)))
    return np.stack([members[firsts[again]], members[again]], axis=1)


def _near(hashes: NDArray[np.uint64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs within NEAR bits.

    Of NEAR + 1 bands of bits at least one is equal in such a pair, so that only images which share
    a band are compared. Of images with equal hashes the first stands for the others. Thousands may
    share a band (a camera that stands still): these are put in the order of their hashes, and each
    is compared with those that follow next, so that time and memory grow as the images do.
    """
    equal = _same(hashes, members)
    members = np.setdiff1d(members, equal[:, 1])
    own = hashes[members]
    bits = np.unpackbits(own.view(np.uint8), axis=1)
    found = [equal]
    for band in np.array_split(bits, NEAR + 1, axis=1):
        keys = band @ (1 << np.arange(band.shape[1]))
        order = np.lexsort((own[:, 1], own[:, 0], keys))
        keys, at = keys[order], np.arange(len(order))
        for step in range(1, min(len(order), COMPARED)):
            at = at[at + step < len(order)]
            at = at[keys[at] == keys[at + step]]
            if not len(at):
                break
            pairs = np.sort(np.stack([order[at], order[at + step]], axis=1), axis=1)
            close = np.bitwise_count(own[pairs[:, 0]] ^ own[pairs[:, 1]]).sum(axis=1) <= NEAR
            found.append(members[pairs[close]])
    return np.unique(np.concatenate(found), axis=0)


def _correlation(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(k,)`` the correlation of the rows of two ``(k, n)`` arrays, none constant."""
    left, right = (x - x.mean(axis=1, keepdims=True, dtype=np.float32) for x in (left, right))
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / norms
