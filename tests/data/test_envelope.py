"""Records are used for the very picture they are about."""

import numpy as np
import pytest
import torch

from tutelage.data.envelope import join, seal, split, thumbnail, unseal

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
SIZE = (40, 64)


def test_the_content_of_the_same_picture():
    record = seal(b"said", SIZE, thumbnail(IMAGE))
    assert bytes(unseal(record, SIZE, thumbnail(IMAGE))) == b"said"
    nearly = np.clip(IMAGE.astype(int) + 1, 0, 255).astype(np.uint8)  # another rounding
    assert unseal(record, SIZE, thumbnail(nearly)) is not None


@pytest.mark.parametrize("change", ["size", "mirrored", "darker", "short", "none"])
def test_another_picture_has_no_record(change):
    record, size, image = seal(b"said", SIZE, thumbnail(IMAGE)), SIZE, IMAGE.copy()
    if change == "size":
        size = (64, 40)
    elif change == "mirrored":
        image[:20] = 0
    elif change == "darker":
        image = image // 2
    elif change == "short":
        record = record[:20]
    else:
        record = None
    assert unseal(record, size, thumbnail(image)) is None


@pytest.mark.parametrize(("change", "same"), [(3, True), (4, False)])
def test_one_sixteenth_that_differs(change, same):
    thumb = thumbnail(IMAGE)
    other = thumb.copy()
    thumb[17], other[17] = 100, 100 - change
    assert (unseal(seal(b"said", SIZE, thumb), SIZE, other) is not None) == same


def test_joined_and_split():
    parts = [b"one", None, b"", b"three"]
    records = join(parts)
    assert records.length.tolist() == [3, -1, 0, 5]
    assert records.content.dtype == torch.uint8
    assert list(split(records)) == parts
    assert list(split(join([None, None]))) == [None, None]
