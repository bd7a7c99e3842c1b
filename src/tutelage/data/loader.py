"""Loaders: torch ``DataLoader`` objects that yield :class:`~tutelage.structures.Batch`."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from tutelage.config.schema import AugmentConfig
from tutelage.data.augment.flip import flip
from tutelage.data.dataset import DetectionDataset, EvaluationDataset, LoadedSample
from tutelage.data.image_cache import START_METHOD, ImageCache
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import GREY, Sample
from tutelage.data.replay import collate_replay
from tutelage.data.sampler import EpochBatches, EpochSampler, SampleKey, Views, rect_plan
from tutelage.data.unlabelled import MixedBatches, MixedDataset
from tutelage.store.records import RecordReader
from tutelage.structures import Batch, Targets


class Stores(NamedTuple):
    """Readers of the stores of a run, in the same order for images with and without labels."""

    labelled: tuple[RecordReader, ...] = ()
    unlabelled: tuple[RecordReader, ...] = ()


def training_loader(
    index: DatasetIndex,
    *,
    image_size: int,
    batch: int,
    augment: AugmentConfig,
    seed: int,
    workers: int,
    cache: bool,
    cache_gib: float,
    unreadable: float = 0.01,
    rect: bool = False,
    close_from: int | None = None,
    stride: int = 32,
    unlabelled: DatasetIndex | None = None,
    extra: int = 0,
    share: tuple[int, int] = (0, 1),
    views: Views | None = None,
    stores: Stores = Stores(),  # noqa: B008  (an immutable NamedTuple)
) -> DataLoader[LoadedSample]:
    """Make the loader of a training run.

    Call ``loader.batch_sampler.set_epoch(epoch)``, or ``set_epoch`` of Accelerate's loader, before
    each epoch. Batches depend on seed and epoch only, not on the number of workers or processes.

    Args:
        index: The data set.
        image_size: Length of an image's longer side.
        batch: Images per batch, over all processes; limited to the size of the data set.
        augment: The augmentation.
        seed: Seed of order and augmentation.
        workers: Worker processes; 0: none.
        cache: Whether to keep decoded images in RAM.
        cache_gib: Memory budget of the cache in GiB.
        unreadable: Allowed share of unreadable images; ten are always allowed.
        rect: Batches of similar shape, in fixed order, without mosaic and mixup.
        close_from: First epoch without mosaic and mixup.
        stride: Canvas sides of rect batches are multiples of it.
        unlabelled: Unlabelled images to mix in; not with ``rect``.
        extra: Number of them that follow the labelled images of a batch; their ids continue after
            those of ``index``.
        share: Rank of this process and number of processes: each gets its part of every batch. If
            a batch has fewer labelled images than processes, some images are repeated.
        views: How many augmented versions of each image there are; None: a new one in every epoch.
        stores: Where the teachers' answers about the views are stored.
    """
    batch = min(batch, len(index))
    plan = None
    if rect:
        plan = rect_plan(index.sizes, batch=batch, image_size=image_size, stride=stride)

    def make_dataset(
        images: DatasetIndex, readers: tuple[RecordReader, ...], gib: float, *, offset: int = 0
    ) -> DetectionDataset:
        """Return a data set; the offset keeps the seeds of two of them apart."""
        image_cache = ImageCache(images, image_size=image_size, gib=gib) if cache else None
        return DetectionDataset(
            images,
            image_size=image_size,
            config=augment,
            seed=seed + offset,
            close_from=close_from,
            rect=plan,
            cache=image_cache,
            unreadable=unreadable,
            views=views and views._replace(seed=views.seed + offset),
            stores=readers,
        )

    if unlabelled is not None and extra:
        if rect:
            raise ValueError("images without labels cannot be mixed into rect batches")
        mixed = MixedDataset(
            make_dataset(index, stores.labelled, cache_gib / 2),
            make_dataset(unlabelled, stores.unlabelled, cache_gib / 2, offset=1),
        )
        batches = MixedBatches(
            len(index), len(unlabelled), batch=batch, extra=extra, seed=seed, share=share
        )
        return make_loader(mixed, batches, workers=workers)
    dataset = make_dataset(index, stores.labelled, cache_gib)
    order = plan.order if plan is not None else None
    sampler = EpochSampler(len(index), seed=seed, order=order)
    return make_loader(dataset, EpochBatches(sampler, batch=batch, share=share), workers=workers)


def evaluation_loader(
    index: DatasetIndex,
    *,
    image_size: int,
    batch: int,
    workers: int,
    rect: bool = False,
    pad: float = 0.0,
    stride: int = 32,
    share: tuple[int, int] = (0, 1),
) -> DataLoader[LoadedSample]:
    """Make a loader of every image once, letterboxed, without augmentation.

    ``loader.dataset.letterbox`` returns how an image lies on its batch's canvas.

    Args:
        index: The data set.
        image_size: Length of an image's longer side.
        batch: Images per batch.
        workers: Worker processes; 0: none.
        rect: Batches of similar shape on the smallest canvas, instead of squares.
        pad: Margin of rect canvases in strides before rounding up (YOLOv7 evaluates with 0.5).
        stride: Canvas sides of rect batches are multiples of it.
        share: Rank r of this process and number n of processes: rank r gets the batches r, r + n,
            r + 2n, ...
    """
    batch = min(batch, len(index))
    plan = None
    if rect:
        plan = rect_plan(index.sizes, batch=batch, image_size=image_size, stride=stride, pad=pad)
    dataset = EvaluationDataset(index, image_size=image_size, rect=plan)
    order = plan.order if plan is not None else np.arange(len(index))
    rank, processes = share
    order = order[np.arange(len(order)) // batch % processes == rank]
    sampler = EpochSampler(len(order), order=order)
    return make_loader(dataset, EpochBatches(sampler, batch=batch), workers=workers)


def collate(loaded: Sequence[LoadedSample]) -> Batch:
    """Centre samples on grey canvases of one size, and concatenate their boxes.

    The largest canvas is used: batches that Accelerate fills up for the last process can mix
    shapes. Images are channels-last in memory, which avoids a transposition.

    Args:
        loaded: The samples.
    """
    height, width = (max(each.canvas_hw[axis] for each in loaded) for axis in (0, 1))
    images = np.empty((len(loaded), height, width, 3), np.uint8)
    boxes: list[np.ndarray] = []
    for canvas, each in zip(images, loaded, strict=True):
        sample = each.sample
        new_w, new_h = sample.size_wh
        left, top = (width - new_w) // 2, (height - new_h) // 2
        if (new_w, new_h) != (width, height):
            canvas.fill(GREY)
        canvas[top : top + new_h, left : left + new_w] = sample.image
        boxes.append(sample.xyxy + np.array([left, top, left, top], np.float32))
    replay = collate_replay(loaded, images)  # about the views as they are before the flips
    for number, each in enumerate(loaded):
        left_right, up_down = each.flips
        whole = Sample(images[number], boxes[number], each.sample.label)
        flipped = flip(whole, left_right=left_right, up_down=up_down)
        images[number], boxes[number] = flipped.image, flipped.xyxy
    counts = [len(box) for box in boxes]
    targets = Targets(
        image=torch.from_numpy(np.repeat(np.arange(len(loaded)), counts)),
        label=torch.from_numpy(np.concatenate([each.sample.label for each in loaded])),
        xyxy=torch.from_numpy(np.concatenate(boxes)),
    )
    ids = torch.tensor([each.position for each in loaded], dtype=torch.int64)
    return Batch(torch.from_numpy(images).permute(0, 3, 1, 2), targets, ids, replay)


def make_loader(
    dataset: DetectionDataset | EvaluationDataset | MixedDataset,
    batches: Iterable[list[SampleKey]],
    *,
    workers: int,
) -> DataLoader[LoadedSample]:
    """Make a loader of batches.

    Args:
        dataset: The samples.
        batches: The keys of each batch; gone through in this process, somewhat ahead.
        workers: Worker processes; 0: none.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=START_METHOD if workers else None,
        # Torch draws base seeds for the workers: not from the global generator.
        generator=torch.Generator(),
    )


@atexit.register
def _end_workers() -> None:
    """End workers that an exception keeps alive: Python would terminate and await them for ever."""
    children = [child for child in multiprocessing.active_children() if child.daemon]
    if children and hasattr(signal, "SIGCHLD"):  # torch's handler would call their end an error
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in children:  # what Python is about to terminate
        child.kill()


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    # Terminals, clusters and torchrun signal all processes. The training process handles them and
    # may need more batches to finish its step; workers end with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
