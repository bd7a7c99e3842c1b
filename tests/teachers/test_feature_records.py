"""Feature maps of a teacher as records."""

import pytest
import torch

from tutelage.structures import Tap
from tutelage.teachers.feature_records import FeatureFormat

TAPS = (Tap("75", 5, 8), Tap("88", 3, 16))
SIZE = (64, 96)


def maps(images=3):
    g = torch.Generator().manual_seed(0)
    shapes = [(images, 5, 8, 12), (images, 3, 4, 6)]
    found = [torch.randn(shape, generator=g) * 3 for shape in shapes]
    found[0][:, 1] = 2.5  # a channel without variation
    return tuple(x.to(memory_format=torch.channels_last) for x in found)


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_values_come_back_within_their_precision(precision):
    form = FeatureFormat(TAPS, precision)
    records = form.encode(maps())
    assert records.length.tolist() == [form.length(SIZE)] * 3
    for ours, theirs in zip(form.decode(records, SIZE), maps(), strict=True):
        span = theirs.amax((2, 3), keepdim=True) - theirs.amin((2, 3), keepdim=True)
        bound = span / 510 if precision == "int8" else theirs.abs() * 2**-11
        assert ((ours - theirs).abs() <= bound + 1e-6).all()
        assert ours.shape == theirs.shape
        assert ours.is_contiguous(memory_format=torch.channels_last)


def test_maps_of_an_enlarged_image_have_its_cells():
    form = FeatureFormat((Tap("88", 3, 16),), "int8", 2.0)
    large = torch.randn(2, 3, 8, 12)  # of 128 x 192 pixels
    records = form.encode((large,))
    assert records.length[0] == form.length(SIZE)
    (found,) = form.decode(records, SIZE)
    assert found.shape == large.shape
