"""Duplicate images: equal files, and images that look the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.check.image_stats import ImageStats
from tutelage.data.findings import Finding, Severity, summarise
from tutelage.data.formats.build_index import OpenedSplit

NEAR = 8  # of 128 bits: rescaled or recompressed copies differ in fewer, other images in more
COMPARED = 50  # images of the same band that each image is compared with
ALIKE = 0.95  # correlation of grey levels: images with few edges may share hashes by chance

_LEAK = "Keep each image in one split: scores on images seen in training say nothing."
_KINDS: tuple[tuple[str, str, str, Severity, Severity], ...] = (
    ("", "same", "are the same file", "error", "warning"),
    ("-near", "near", "look the same", "warning", "info"),
)


class Duplicates(NamedTuple):
    """Pairs of images, numbered through all splits.

    Attributes:
        same: ``(k, 2)`` int64, equal files: the first one, and another.
        near: ``(k, 2)`` int64, images that only look the same.
    """

    same: NDArray[np.int64]
    near: NDArray[np.int64]


def find_duplicates(image_stats: Sequence[ImageStats]) -> Duplicates:
    """Compare all images of all splits, in the order train, val, test."""
    digests = np.concatenate([stats.digests for stats in image_stats])
    same = _same(digests, np.flatnonzero(digests.any(axis=1)))
    hashes = np.concatenate([stats.hashes for stats in image_stats])
    comparable = np.concatenate([stats.comparable for stats in image_stats])
    comparable[same[:, 1]] = False
    near = _near(hashes, np.flatnonzero(comparable))
    grids = np.concatenate([stats.grids for stats in image_stats])
    return Duplicates(same, near[_correlation(grids[near[:, 0]], grids[near[:, 1]]) >= ALIKE])


def check_duplicates(splits: Sequence[OpenedSplit], duplicates: Duplicates) -> Iterator[Finding]:
    """Yield duplicates within a split and between splits."""
    starts = np.cumsum([0, *(len(opened.listing.images) for opened in splits)])

    def describe_image(number: int) -> str:
        split = int(np.searchsorted(starts, number, side="right")) - 1
        listing = splits[split].listing
        image = listing.images[number - int(starts[split])]
        return f"{listing.short(image)} ({listing.split})"

    def describe_pair(pair: Sequence[int]) -> str:
        return " and ".join(map(describe_image, pair))

    for suffix, field, verb, across, within in _KINDS:
        pairs = getattr(duplicates, field)
        split_of = np.searchsorted(starts, pairs, side="right")
        leaks = split_of[:, 0] != split_of[:, 1]
        if leaks.any():
            cases = map(describe_pair, pairs[leaks].tolist())
            what = f"Pairs of images of different splits that {verb}"
            yield summarise(f"split-leak{suffix}", across, what, cases, int(leaks.sum()), _LEAK)
        if not leaks.all():
            cases = map(describe_pair, pairs[~leaks].tolist())
            what = f"Pairs of images of one split that {verb}"
            yield summarise(f"image-duplicate{suffix}", within, what, cases, int((~leaks).sum()))


def _same(values: NDArray[np.uint64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``(k, 2)`` pairs of members with equal values; the first is the lowest such member."""
    _, first, group = np.unique(values[members], axis=0, return_index=True, return_inverse=True)
    firsts = first[group.reshape(-1)]
    again = np.flatnonzero(firsts != np.arange(len(members)))
    return np.stack([members[firsts[again]], members[again]], axis=1)


def _near(hashes: NDArray[np.uint64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``(k, 2)`` pairs whose hashes differ in at most NEAR bits.

    Such a pair has at least one of NEAR + 1 bands of bits in common, so only images that share a
    band are compared; of images with equal hashes only the first. Where thousands share a band (a
    static camera), they are sorted by hash and each is compared with the next COMPARED only, so
    that time and memory stay linear in the number of images.
    """
    equal = _same(hashes, members)
    members = np.setdiff1d(members, equal[:, 1])
    own = hashes[members]
    bits = np.unpackbits(own.view(np.uint8), axis=1)
    pairs_found = [equal]
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
            pairs_found.append(members[pairs[close]])
    return np.unique(np.concatenate(pairs_found), axis=0)


def _correlation(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(k,)`` the correlation of the rows of two ``(k, n)`` arrays, none constant."""
    left, right = (x - x.mean(axis=1, keepdims=True, dtype=np.float32) for x in (left, right))
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / norms
