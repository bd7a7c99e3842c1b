from __future__ import annotations

import numpy as np
import pytest

from tutelage.data.letterbox import letterbox_geometry
from tutelage.data.sampler import EpochBatches, EpochSampler, SampleKey, rect_plan, sample_rng


def indices(sampler: EpochSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {key.epoch for key in keys} == {epoch}
    return [key.index for key in keys]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    sampler = EpochSampler(50, seed=3)
    first, second = indices(sampler, 0), indices(sampler, 1)
    assert sorted(first) == list(range(50)) == sorted(second)
    assert first != second
    assert indices(sampler, 0) == first == indices(EpochSampler(50, seed=3), 0)
    assert indices(EpochSampler(50, seed=4), 0) != first
    assert len(sampler) == 50


def test_unshuffled_orders() -> None:
    order = np.array([2, 0, 1])
    assert indices(EpochSampler(3, order=order), 5) == [2, 0, 1]


def test_samples_have_generators_of_their_own() -> None:
    def first(seed: int, epoch: int, index: int) -> float:
        return float(sample_rng(seed, SampleKey(epoch, index)).random())

    draws = {first(s, e, i) for s in (-1, 0, 1, 2**40) for e in (0, 1) for i in (0, 1, 2)}
    assert len(draws) == 24
    assert first(1, 2, 3) == first(1, 2, 3)


def test_the_order_is_independent_of_the_first_sample() -> None:
    """(seed, epoch) and (seed, epoch, 0) seed numpy alike: the order needs a stream of its own."""
    same_seed = np.random.default_rng((3, 0)).permutation(50).tolist()
    assert same_seed == sample_rng(3, SampleKey(0, 0)).permutation(50).tolist()
    assert indices(EpochSampler(50, seed=3), 0) != same_seed


@pytest.mark.parametrize(
    ("sizes", "pad", "canvas"),
    [
        pytest.param([(640, 480)], 0.5, (512, 672), id="evaluation of YOLOv7, 4:3"),
        pytest.param([(640, 480)], 0.0, (480, 640), id="no margin"),
        pytest.param([(480, 640)], 0.0, (640, 480), id="portrait"),
        pytest.param([(640, 480), (480, 640)], 0.0, (640, 640), id="mixed"),
        pytest.param([(640, 480), (640, 320)], 0.0, (480, 640), id="the highest decides"),
        pytest.param([(640, 481)], 0.0, (512, 640), id="rounded up"),
    ],
)
def test_rect_canvas(sizes: list[tuple[int, int]], pad: float, canvas: tuple[int, int]) -> None:
    plan = rect_plan(np.array(sizes, np.int32), batch=8, image_size=640, pad=pad)
    assert {tuple(row) for row in plan.canvas_hw.tolist()} == {canvas}


def test_rect_canvas_in_spite_of_floats() -> None:
    assert np.ceil(28 / 100 * 800 / 32) == 8  # of 7
    plan = rect_plan(np.array([(100, 28)], np.int32), batch=1, image_size=800)
    assert plan.canvas_hw.tolist() == [[224, 800]]


def test_rect_batches_are_sorted_and_hold_their_images() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 900, (203, 2)).astype(np.int32)
    plan = rect_plan(sizes, batch=16, image_size=320, stride=64)
    assert sorted(plan.order.tolist()) == list(range(203))
    ratios = (sizes[:, 1] / sizes[:, 0])[plan.order]
    assert (np.diff(ratios) >= 0).all()
    for start in range(0, 203, 16):
        members = plan.order[start : start + 16]
        assert len({tuple(row) for row in plan.canvas_hw[members].tolist()}) == 1
    assert (plan.canvas_hw % 64 == 0).all()
    for (width, height), (canvas_h, canvas_w) in zip(
        sizes.tolist(), plan.canvas_hw.tolist(), strict=True
    ):
        # The canvas never limits an image below its full length.
        assert max(letterbox_geometry((width, height), (canvas_h, canvas_w)).new_wh) == 320


@pytest.mark.parametrize(("images", "batch", "processes"), [(22, 8, 2), (9, 4, 3), (10, 5, 2)])
def test_processes_share_the_batches_of_one(images, batch, processes):
    def batches(share):
        made = EpochBatches(EpochSampler(images, seed=3), batch=batch, share=share)
        made.set_epoch(1)
        assert len(list(made)) == len(made)
        return list(made)

    whole = batches((0, 1))
    assert sorted(key.index for one in whole for key in one) == list(range(images))
    for number, found in enumerate(
        zip(*map(batches, [(i, processes) for i in range(processes)]), strict=True)
    ):
        sizes = [len(part) for part in found]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        together = [key for part in found for key in part]
        if len(whole[number]) >= processes:
            assert together == whole[number]
        else:  # fewer images than processes: somebody sees one again
            assert set(together) == set(whole[number])
