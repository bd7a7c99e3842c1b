from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.data.write_dataset import make_scenes
from tutelage.config.schema import AugmentConfig
from tutelage.data import DatasetIndex, evaluation_loader, open_dataset, training_loader
from tutelage.data.dataset import UnreadableError
from tutelage.data.letterbox import GREY, letterbox, letterbox_geometry
from tutelage.structures import Batch

SIZES = ((64, 48), (40, 64), (200, 100))
QUIET = AugmentConfig(
    hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, scale_up=0, fliplr=0, mosaic=0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("set"), 11, SIZES)


@pytest.fixture(scope="module")
def index(folder: Path) -> DatasetIndex:
    return open_dataset(folder, "train")


def loader(index: DatasetIndex, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "image_size": 64,
        "batch": 4,
        "augment": AugmentConfig(mixup=0.3),
        "seed": 0,
        "workers": 0,
        "cache": False,
        "cache_gib": 1.0,
    }
    return training_loader(index, **(settings | changes))


def epoch(loader: Any, number: int = 0) -> list[Batch]:
    loader.batch_sampler.set_epoch(number)
    return list(loader)


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left.images, right.images)
        assert torch.equal(left.ids, right.ids)
        assert all(torch.equal(a, b) for a, b in zip(left.targets, right.targets, strict=True))


def differ(first: list[Batch], second: list[Batch]) -> bool:
    return not all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))


def test_batches_keep_the_contract(index: DatasetIndex) -> None:
    batches = epoch(loader(index))
    assert [len(batch.ids) for batch in batches] == [4, 4, 3]
    assert sorted(torch.cat([batch.ids for batch in batches]).tolist()) == list(range(11))
    for batch in batches:
        assert isinstance(batch, Batch)
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (len(batch.ids), 3, 64, 64)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        image, label, xyxy = batch.targets
        assert image.dtype == label.dtype == batch.ids.dtype == torch.int64
        assert xyxy.dtype == torch.float32
        assert len(image) == len(label) == len(xyxy)
        assert (image.diff() >= 0).all()
        assert image.max() < len(batch.ids)
        assert xyxy.min() >= 0
        assert xyxy.max() <= 64
    assert len(epoch(loader(index, batch=100))) == 1


def test_targets_name_their_image(index: DatasetIndex) -> None:
    for batch in epoch(loader(index, augment=QUIET)):
        for row, position in enumerate(batch.ids.tolist()):
            item = index.item(position)
            mine = batch.targets.image == row
            assert batch.targets.label[mine].tolist() == item.label.tolist()
            expected = letterbox_geometry(item.size_wh, (64, 64)).apply(item.xyxy)
            np.testing.assert_allclose(batch.targets.xyxy[mine], expected, atol=1e-4)


def test_images_are_rgb(index: DatasetIndex) -> None:
    from PIL import Image

    (batch,) = epoch(loader(index.subset([0]), augment=QUIET))
    expected = np.asarray(Image.open(index.path(0)).convert("RGB"))
    np.testing.assert_array_equal(batch.images[0, :, 8:56].permute(1, 2, 0), expected)
    assert (batch.images[0, :, :8] == GREY).all()


def test_workers_change_nothing(index: DatasetIndex) -> None:
    """Persistent workers live through the epochs, also backwards, as after a resume."""
    alone, helped = loader(index), loader(index, workers=2)
    for number in (0, 1, 2, 1):
        assert_same(epoch(alone, number), epoch(helped, number))


def test_epoch_and_seed_change_everything(index: DatasetIndex) -> None:
    first = epoch(loader(index), 0)
    assert_same(first, epoch(loader(index), 0))
    assert differ(first, epoch(loader(index), 1))
    assert differ(first, epoch(loader(index, seed=1), 0))


def test_global_random_state_is_neither_read_nor_moved(index: DatasetIndex) -> None:
    torch.manual_seed(0)
    first = epoch(loader(index, workers=1))
    before = torch.random.get_rng_state()
    assert_same(first, epoch(loader(index, workers=1)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_mosaic_closes_by_the_epoch_of_the_key(index: DatasetIndex) -> None:
    always = QUIET.model_copy(update={"mosaic": 1.0, "mixup": 1.0})
    closing = loader(index, augment=always, close_from=2, workers=1)
    plain = loader(index, augment=QUIET)
    open_ = loader(index, augment=always)
    assert_same(epoch(closing, 1), epoch(open_, 1))
    assert_same(epoch(closing, 2), epoch(plain, 2))
    assert differ(epoch(closing, 2), epoch(open_, 2))
    assert_same(epoch(closing, 0), epoch(open_, 0))


class TestAccelerate:
    def test_set_epoch_reaches_the_sampler(self, index: DatasetIndex) -> None:
        plain, prepared = loader(index), Accelerator(cpu=True).prepare(loader(index, workers=1))
        for number in (0, 3, 1):
            prepared.set_epoch(number)
            batches = list(prepared)
            assert isinstance(batches[0], Batch)
            assert_same(batches, epoch(plain, number))

    def test_resume_in_the_middle_of_an_epoch(self, index: DatasetIndex) -> None:
        accelerator = Accelerator(cpu=True)
        prepared = accelerator.prepare(loader(index))
        prepared.set_epoch(2)
        rest = list(accelerator.skip_first_batches(prepared, 1))
        assert_same(rest, epoch(loader(index), 2)[1:])

    def test_processes_see_the_batches_of_one(self, index: DatasetIndex) -> None:
        """Also of rect batches: the parts of one have the same canvas, every box in its place."""
        for rect in (False, True):
            plain = loader(index, rect=rect)
            parts = [loader(index, rect=rect, share=(rank, 2)) for rank in (0, 1)]
            found = zip(epoch(plain, 1), *(epoch(each, 1) for each in parts), strict=True)
            for whole, *halves in found:
                assert torch.equal(torch.cat([half.images for half in halves]), whole.images)
                assert torch.equal(torch.cat([half.ids for half in halves]), whole.ids)
                boxes = torch.cat([half.targets.xyxy for half in halves])
                assert torch.equal(boxes, whole.targets.xyxy)


class TestRect:
    def test_training(self, index: DatasetIndex) -> None:
        augment = AugmentConfig(mosaic=1.0, mixup=1.0)
        batches = epoch(loader(index, batch=3, rect=True, augment=augment), 0)
        shapes = [tuple(batch.images.shape[-2:]) for batch in batches]
        assert shapes == [(32, 64), (64, 64), (64, 64), (64, 64)]
        order = [batch.ids.tolist() for batch in batches]
        assert order[0] == [2, 5, 8]
        again = epoch(loader(index, batch=3, rect=True), 1)
        assert [batch.ids.tolist() for batch in again] == order
        for batch in epoch(loader(index, rect=True, augment=QUIET)):
            for row, position in enumerate(batch.ids.tolist()):
                item = index.item(position)
                geometry = letterbox_geometry(item.size_wh, tuple(batch.images.shape[-2:]))
                expected = geometry.apply(item.xyxy)
                mine = batch.targets.image == row
                np.testing.assert_allclose(batch.targets.xyxy[mine], expected, atol=1e-4)

    @pytest.mark.parametrize("pad", [0.0, 0.5])
    def test_evaluation(self, index: DatasetIndex, pad: float) -> None:
        made = evaluation_loader(index, image_size=64, batch=4, workers=0, rect=True, pad=pad)
        ids = []
        for batch in made:
            canvas = tuple(batch.images.shape[-2:])
            assert max(canvas) == (64 if pad == 0 else 96)
            for row, position in enumerate(batch.ids.tolist()):
                item = index.item(position)
                geometry = made.dataset.letterbox(position, canvas)
                assert max(geometry.new_wh) == 64
                mine = batch.targets.image == row
                back = geometry.inverse(batch.targets.xyxy[mine])
                np.testing.assert_allclose(back, item.xyxy, atol=1e-3)
                if pad == 0:
                    assert geometry == letterbox_geometry(item.size_wh, canvas)
            ids += batch.ids.tolist()
        assert sorted(ids) == list(range(11))


class TestEvaluation:
    def test_every_image_once_as_it_is(self, index: DatasetIndex) -> None:
        from tutelage.data import read_image

        batches = list(evaluation_loader(index, image_size=96, batch=4, workers=2))
        assert torch.cat([batch.ids for batch in batches]).tolist() == list(range(11))
        for batch in batches:
            for row, position in enumerate(batch.ids.tolist()):
                item = index.item(position)
                expected, geometry = letterbox(read_image(item.path), (96, 96))
                np.testing.assert_array_equal(batch.images[row].permute(1, 2, 0), expected)
                mine = batch.targets.image == row
                np.testing.assert_allclose(
                    batch.targets.xyxy[mine], geometry.apply(item.xyxy), atol=1e-4
                )

    def test_an_image_that_broke_is_grey_and_reported(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        index = open_dataset(make_scenes(tmp_path, 3), "train")
        index.path(1).write_bytes(b"broken")
        made = evaluation_loader(index, image_size=64, batch=3, workers=0)
        for _ in range(2):
            (batch,) = list(made)
        assert batch.ids.tolist() == [0, 1, 2]
        assert (batch.images[1] == GREY).all()
        assert (batch.targets.image == 1).any()
        assert made.dataset.unreadable == (index.path(1),)
        assert len(caplog.records) == 1
        assert "evaluated as an empty grey image" in caplog.text


class TestBrokenImages:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_skipped_and_remembered(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
    ) -> None:
        index = open_dataset(make_scenes(tmp_path, 6), "train")
        data = index.path(2).read_bytes()
        index.path(2).write_bytes(data[: len(data) // 2])
        made = loader(index, batch=3, workers=workers, augment=AugmentConfig(mosaic=0.5))
        first, second = epoch(made, 0), epoch(made, 1)
        ids = torch.cat([batch.ids for batch in first]).tolist()
        assert sorted(ids) == [0, 1, 3, 3, 4, 5]
        assert made.dataset.unreadable == (index.path(2),)
        again = loader(index, batch=3, augment=AugmentConfig(mosaic=0.5))
        assert_same([*epoch(again, 0), *epoch(again, 1)], [*first, *second])
        assert not caplog.records  # a run tells it, as a notice

    @pytest.mark.parametrize("workers", [0, 2])
    def test_too_many(self, tmp_path: Path, workers: int) -> None:
        index = open_dataset(make_scenes(tmp_path, 14), "train")
        for position in range(10):
            index.path(position).write_bytes(b"broken")
        made = loader(index, batch=7, workers=workers)
        assert len(epoch(made)) == 2  # ten may be lost of any number
        index.path(13).unlink()
        made = loader(index, batch=7, workers=workers)
        with pytest.raises(UnreadableError) as caught:
            epoch(made)
        assert re.fullmatch(
            r"11 of 14 training images cannot be read any more, e\.g\. .* cannot be read: .*\.",
            caught.value.what,
        )
        assert caught.value.fix == "Put the files back, then go on with  tutelage train --resume"
        assert caught.value.exit_code == 3

    def test_a_changed_size_is_not_trusted(self, tmp_path: Path) -> None:
        index = open_dataset(make_scenes(tmp_path, 2, ((64, 48), (32, 32))), "train")
        index.path(0).write_bytes(index.path(1).read_bytes())
        made = loader(index, augment=QUIET)
        assert epoch(made)[0].ids.tolist() == [1, 1]

    def test_nothing_left(self, tmp_path: Path) -> None:
        index = open_dataset(make_scenes(tmp_path, 2), "train")
        for item in index:
            item.path.unlink()
        with pytest.raises(Exception, match="None of the 2 training images can be read any more"):
            epoch(loader(index))


class TestRamCache:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_same_batches_without_reading(
        self, tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        index = open_dataset(make_scenes(tmp_path, 6, SIZES), "train")
        expected = epoch(loader(index))
        cached = loader(index, cache=True, workers=workers)
        assert caplog.messages == []
        for item in index:
            item.path.unlink()
        assert_same(epoch(cached), expected)

    def test_a_budget_for_a_part(
        self, index: DatasetIndex, caplog: pytest.LogCaptureFixture
    ) -> None:
        each = [64 * 48 * 3, 64 * 40 * 3, 64 * 32 * 3]
        gib = (sum(each) + each[0] + 10) / 2**30
        made = loader(index, cache=True, cache_gib=gib)
        cache = made.dataset.cache
        assert cache.kept == 4
        assert len(cache.block) == sum(each) + each[0]
        assert len(caplog.messages) == 1
        assert "holds 4 of 11 images; all of them need" in caplog.messages[0]
        assert_same(epoch(made), epoch(loader(index)))

    def test_images_are_kept_shrunk_not_enlarged_and_read_only(self, index: DatasetIndex) -> None:
        cache = loader(index, cache=True, image_size=100).dataset.cache
        assert cache.get(0).shape == (48, 64, 3)
        assert cache.get(2).shape == (50, 100, 3)
        with pytest.raises(ValueError, match="read-only"):
            cache.get(0)[:] = 0

    def test_a_broken_image_is_left_to_the_loader(self, tmp_path: Path) -> None:
        index = open_dataset(make_scenes(tmp_path, 3), "train")
        index.path(0).write_bytes(b"")
        made = loader(index, cache=True, augment=QUIET)
        assert sorted(epoch(made)[0].ids.tolist()) == [1, 1, 2]
        assert made.dataset.unreadable == (index.path(0),)


def test_workers_that_an_exception_keeps_alive_do_not_keep_the_process(tmp_path):
    """They ignore SIGTERM, with which Python ends them before it waits for them."""
    make_scenes(tmp_path, 8)
    program = f"""
import gc
from tutelage.config.schema import AugmentConfig
from tutelage.data import open_splits, training_loader
gc.disable()
index, _ = open_splits({str(tmp_path / "data.yaml")!r}, "train", "val")
loader = training_loader(index, image_size=64, batch=2, augment=AugmentConfig(), seed=0, workers=1,
                         cache=False, cache_gib=1.0)
batches = iter(loader)
next(batches)
try:
    raise ValueError
except ValueError as error:
    kept = error
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    assert done.stderr == ""
