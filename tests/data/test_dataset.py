"""Enlarged samples: the view of a key at a larger size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.write_dataset import make_scenes
from tutelage.config.schema import AugmentConfig
from tutelage.data import DatasetIndex, open_dataset
from tutelage.data.dataset import DetectionDataset, LoadedSample, UnreadableError
from tutelage.data.image_cache import ImageCache
from tutelage.data.loader import collate
from tutelage.data.sampler import SampleKey, rect_plan

SIZE = 64
SIZES = ((160, 120), (60, 128), (64, 48), (40, 30))
QUIET = AugmentConfig(
    hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, scale_up=0, fliplr=0, mosaic=0
)
MIXED = AugmentConfig(mosaic=0.7, mixup=0.3)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    return open_dataset(make_scenes(tmp_path_factory.mktemp("set"), 8, SIZES), "train")


def dataset(
    index: DatasetIndex,
    config: AugmentConfig = MIXED,
    *,
    rect: bool = False,
    cache: ImageCache | None = None,
) -> DetectionDataset:
    plan = rect_plan(index.sizes, batch=2, image_size=SIZE) if rect else None
    return DetectionDataset(
        index, image_size=SIZE, config=config, seed=3, close_from=2, rect=plan, cache=cache
    )


def assert_same_view(large: LoadedSample, plain: LoadedSample, zoom: float) -> None:
    height, width = plain.canvas_hw
    assert large.canvas_hw == (zoom * height, zoom * width)
    assert large.position == plain.position
    np.testing.assert_array_equal(large.sample.label, plain.sample.label)
    np.testing.assert_allclose(large.sample.xyxy / zoom, plain.sample.xyxy, atol=1e-4)
    shrunk = cv2.resize(large.sample.image, plain.sample.size_wh, interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - plain.sample.image).mean() < 5


@pytest.mark.parametrize("zoom", [1.5, 2.0])
@pytest.mark.parametrize("rect", [False, True])
def test_a_key_enlarged_is_the_same_view(index: DatasetIndex, rect: bool, zoom: float) -> None:
    samples = dataset(index, rect=rect)
    for epoch in (0, 1, 2):  # without mosaic from 2 on
        for position in range(len(index)):
            key = SampleKey(epoch, position)
            assert_same_view(samples.enlarged(key, zoom), samples[key], zoom)


def test_not_enlarged_it_is_the_sample(index: DatasetIndex) -> None:
    samples, key = dataset(index), SampleKey(0, 1)
    again = samples.enlarged(key, 1)
    np.testing.assert_array_equal(again.sample.image, samples[key].sample.image)
    np.testing.assert_array_equal(again.sample.xyxy, samples[key].sample.xyxy)
    assert again.canvas_hw == (SIZE, SIZE)


@pytest.mark.parametrize("zoom", [1.5, 2.0])
def test_a_batch_of_enlarged_samples(index: DatasetIndex, zoom: float) -> None:
    samples = dataset(index, rect=True)
    keys = [SampleKey(0, int(i)) for i in samples.rect.order[-2:]]  # type: ignore[union-attr]
    plain = collate([samples[key] for key in keys])
    large = collate([samples.enlarged(key, zoom) for key in keys])
    assert large.image_size == tuple(zoom * side for side in plain.image_size)
    assert large.ids.tolist() == plain.ids.tolist()
    assert large.targets.image.tolist() == plain.targets.image.tolist()
    np.testing.assert_allclose(large.targets.xyxy / zoom, plain.targets.xyxy, atol=1e-4)


def striped(tmp_path: Path) -> DatasetIndex:
    """Two images of 128 pixels with stripes of one pixel of 64; images of 64 show grey."""
    index = open_dataset(make_scenes(tmp_path, 2, ((128, 128),)), "train")
    image = np.zeros((128, 128, 3), np.uint8)
    image[:, ::2] = 200
    for item in index:
        cv2.imwrite(str(item.path), image)
    return index


@pytest.mark.parametrize("cached", [False, True])
def test_it_shows_the_pixels_of_the_file(tmp_path: Path, cached: bool) -> None:
    index = striped(tmp_path)
    cache = ImageCache(index, image_size=SIZE, gib=1) if cached else None
    samples, key = dataset(index, QUIET, cache=cache), SampleKey(0, 0)
    assert samples[key].sample.image.std() == 0
    large = samples.enlarged(key, 2).sample.image
    np.testing.assert_array_equal(large[0, :4, 0], [200, 0, 200, 0])


def test_without_its_file_it_shows_what_is_cached(tmp_path: Path) -> None:
    """Another image in its place would be another view than the student's."""
    index = open_dataset(make_scenes(tmp_path, 3, ((128, 96), (64, 48), (40, 30))), "train")
    cache = ImageCache(index, image_size=SIZE, gib=1)
    samples = dataset(index, cache=cache)
    for item in index:
        item.path.unlink()
    for position in range(3):
        key = SampleKey(0, position)
        assert_same_view(samples.enlarged(key, 2), samples[key], 2)
    assert samples.unreadable == (index.path(0),)  # the others are cached in full


def test_without_its_file_and_a_cache_both_show_the_next(tmp_path: Path) -> None:
    index = open_dataset(make_scenes(tmp_path, 3, ((128, 96),)), "train")
    samples = dataset(index)
    index.path(1).unlink()
    for position in range(3):
        key = SampleKey(0, position)
        assert_same_view(samples.enlarged(key, 2), samples[key], 2)
    for item in index:
        item.path.unlink(missing_ok=True)
    with pytest.raises(UnreadableError):
        samples.enlarged(SampleKey(0, 0), 2)
