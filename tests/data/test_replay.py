"""What is stored about the views of a batch, collated."""

import numpy as np
import torch

from tutelage.data.dataset import LoadedSample
from tutelage.data.envelope import seal, split, thumbnail
from tutelage.data.replay import collate_replay

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 32, 64, 3), np.uint8)  # wider than high
SIZE = (32, 64)


def sample(position, view, *records):
    return LoadedSample(None, position, SIZE, view, records)


def said(number, words, size=SIZE):
    return seal(words, size, thumbnail(IMAGES[number]))


def test_records_of_the_very_pictures_are_handed_on():
    loaded = [
        sample(0, 2, said(0, b"zero"), None),
        sample(1, -1, said(0, b"of another"), said(1, b"one")),
        sample(2, 65537, None, said(2, b"of another size", (64, 32))),
    ]
    replay = collate_replay(loaded, IMAGES)
    assert replay.view.tolist() == [2, -1, 65537]
    assert replay.canvas == SIZE
    assert [list(split(each)) for each in replay.records] == [
        [b"zero", None, None],
        [None, b"one", None],
    ]
    assert torch.equal(replay.thumbnail[1], torch.from_numpy(thumbnail(IMAGES[1])))


def test_without_views_there_is_nothing():
    assert collate_replay([sample(0, 1), sample(1, None)], IMAGES[:2]) is None
