"""Views: augmented versions of an image that recur."""

import numpy as np
import pytest
import torch

from tests.data.write_dataset import make_scenes
from tutelage.config.schema import AugmentConfig
from tutelage.data import open_splits, training_loader
from tutelage.data.sampler import CLOSED, SampleKey, Views


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return open_splits(str(make_scenes(tmp_path_factory.mktemp("scenes"), 12)), "train", "val")[0]


def loader(index, views, seed=0, **options):
    augment = AugmentConfig(mosaic=1.0, mixup=0.5, degrees=10, flipud=0.5)
    given = {"batch": 4, "workers": 0, "cache": False, "cache_gib": 1.0, **options}
    return training_loader(index, image_size=64, augment=augment, seed=seed, views=views, **given)


def pictures(loader, epoch):
    """Return the images, boxes and views of an epoch by id."""
    loader.batch_sampler.set_epoch(epoch)
    found, order = {}, []
    for batch in loader:
        for number, image in enumerate(batch.ids.tolist()):
            boxes = batch.targets.xyxy[batch.targets.image == number]
            found[image] = (batch.images[number], boxes, int(batch.replay.view[number]))
            order.append(image)
    return found, order


def same(a, b):
    return all(torch.equal(a[i][0], b[i][0]) and torch.equal(a[i][1], b[i][1]) for i in a)


def test_they_recur_in_turn_in_another_order(index):
    epochs = [pictures(loader(index, Views(3)), epoch) for epoch in range(4)]
    assert same(epochs[0][0], epochs[3][0])
    assert not same(epochs[0][0], epochs[1][0])
    assert epochs[0][1] != epochs[3][1]
    assert [each[0][0][2] for each in epochs] == [0, 1, 2, 0]


def test_runs_of_other_seeds_and_other_numbers_of_views_share_them(index):
    first, order = pictures(loader(index, Views(3)), 1)
    other, another = pictures(loader(index, Views(5), seed=7), 1)
    assert same(first, other)
    assert order != another
    assert not same(first, pictures(loader(index, Views(3, seed=1)), 1)[0])


def test_those_without_mosaic_have_numbers_of_their_own(index):
    views = Views(2)
    closing = loader(index, views, close_from=3)
    numbers = [pictures(closing, epoch)[0][0][2] for epoch in range(6)]
    assert numbers == [0, 1, 0, CLOSED + 1, CLOSED, CLOSED + 1]
    assert not same(pictures(closing, 1)[0], pictures(closing, 3)[0])
    assert same(pictures(closing, 3)[0], pictures(closing, 5)[0])
    for view in numbers:
        epoch = closing.dataset.epoch_of(view, 0)
        assert closing.dataset[SampleKey(epoch, 0)].view == view


def test_flips_of_every_epoch(index):
    """Flipped back, an image is its view; the views are those that other runs flip."""
    straight = AugmentConfig(mosaic=1.0, mixup=0.5, degrees=10, fliplr=0.0, flipud=0.0)
    plain = training_loader(
        index, image_size=64, augment=straight, seed=0, workers=0, batch=4, cache=False,
        cache_gib=1.0, views=Views(2),
    )  # fmt: skip
    flips = {}
    for seed, epoch in ((0, 0), (0, 2), (1, 0)):
        views, _ = pictures(plain, epoch)
        flipping = loader(index, Views(2, flips=True), seed=seed)
        flipping.batch_sampler.set_epoch(epoch)
        for batch in flipping:
            for place, image in enumerate(batch.ids.tolist()):
                none = torch.zeros(2, dtype=torch.bool)
                flip = none if batch.replay.flips is None else batch.replay.flips[place]
                flips[seed, epoch, image] = tuple(flip.tolist())
                axes = [2] * bool(flip[0]) + [1] * bool(flip[1])
                picture, boxes, view = views[image]
                assert torch.equal(batch.images[place].flip(axes), picture)
                assert int(batch.replay.view[place]) == view
                found = batch.targets.xyxy[batch.targets.image == place]
                for flipped, (low, high) in zip(flip, ((0, 2), (1, 3)), strict=True):
                    if flipped:
                        found[:, [low, high]] = 64 - found[:, [high, low]]
                assert torch.allclose(found, boxes, atol=1e-4)
    by_run = [[flips[run, epoch, i] for i in range(12)] for run, epoch in ((0, 0), (0, 2), (1, 0))]
    assert by_run[0] != by_run[1]
    assert by_run[0] != by_run[2]
    assert len(set(flips.values())) == 4


def test_an_image_is_a_view_of_its_own_only(index, monkeypatch):
    data = loader(index, Views(2)).dataset
    read = data._load

    def unreadable(position, *options):
        from tutelage.errors import DataError

        if position == 3:
            raise DataError("gone")
        return read(position, *options)

    monkeypatch.setattr(data, "_load", unreadable)
    substitute = data[SampleKey(0, 3)]
    assert substitute.position == 4
    assert substitute.view == -1
    assert data[SampleKey(0, 4)].view == 0


def test_rect_canvases_too(index):
    plain = training_loader(
        index, image_size=64, augment=AugmentConfig(), seed=0, workers=0, batch=4, rect=True,
        cache=False, cache_gib=1.0, views=Views(1),
    )  # fmt: skip
    assert same(pictures(plain, 0)[0], pictures(plain, 1)[0])


def test_workers_draw_the_same(index):
    assert same(
        pictures(loader(index, Views(2)), 1)[0], pictures(loader(index, Views(2), workers=1), 1)[0]
    )
    assert np.array_equal(*(pictures(loader(index, Views(2), seed=3), 1)[1] for _ in range(2)))
