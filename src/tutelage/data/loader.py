"""Loaders: plain torch ``DataLoader`` objects that yield :class:`~tutelage.structures.Batch`."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from tutelage.config.schema import AugmentConfig
from tutelage.data.dataset import DetectionDataset, EvaluationDataset, LoadedSample
from tutelage.data.image_cache import START_METHOD, ImageCache
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import GREY, centred
from tutelage.data.sampler import EpochBatches, EpochSampler, rect_plan
from tutelage.data.unlabelled import MixedBatches, MixedDataset
from tutelage.structures import Batch, Targets


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
) -> DataLoader[LoadedSample]:
    """Make the loader of a training run.

    Call ``loader.batch_sampler.set_epoch(epoch)``, or ``set_epoch`` of the loader that Accelerate
    made of it, before each epoch. Batches depend on seed and epoch only, whatever the number of
    workers and of processes.

    Args:
        index: The data set.
        image_size: Length of an image's longer side.
        batch: Images per batch, over all processes; at most as many as there are.
        augment: The augmentation.
        seed: Decides order and augmentation.
        workers: Worker processes; 0: none.
        cache: Whether to keep decoded images in RAM.
        cache_gib: Budget of that in GiB.
        unreadable: Share of the images that may become unreadable; ten may always.
        rect: Batches of similar shape, in fixed order, without mosaic and mixup.
        close_from: First epoch without mosaic and mixup.
        stride: Canvas sides of rect batches are multiples of it.
        unlabelled: Images without labels to mix in; not with ``rect``.
        extra: How many of them follow the labelled images of a batch; their ids count on after
            those of ``index``.
        share: Of several processes, the number of this one and their count: each sees its part of
            every batch. Where a batch has fewer labelled images than there are processes, some
            see one of them again.
    """
    batch = min(batch, len(index))
    plan = None
    if rect:
        plan = rect_plan(index.sizes, batch=batch, image_size=image_size, stride=stride)

    def augmented(images: DatasetIndex, *, seed: int, gib: float) -> DetectionDataset:
        kept = ImageCache(images, image_size=image_size, gib=gib) if cache else None
        return DetectionDataset(
            images,
            image_size=image_size,
            config=augment,
            seed=seed,
            close_from=close_from,
            rect=plan,
            cache=kept,
            unreadable=unreadable,
        )

    if unlabelled is not None and extra:
        if rect:
            raise ValueError("images without labels cannot be mixed into rect batches")
        mixed = MixedDataset(
            augmented(index, seed=seed, gib=cache_gib / 2),
            augmented(unlabelled, seed=seed + 1, gib=cache_gib / 2),
        )
        batches = MixedBatches(
            len(index), len(unlabelled), batch=batch, extra=extra, seed=seed, share=share
        )
        return _loader(mixed, batches, workers=workers)
    dataset = augmented(index, seed=seed, gib=cache_gib)
    order = plan.order if plan is not None else None
    sampler = EpochSampler(len(index), seed=seed, shuffle=not rect, order=order)
    return _loader(dataset, EpochBatches(sampler, batch=batch, share=share), workers=workers)


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
    """Make a loader that shows every image once, letterboxed, without augmentation.

    With ``pad`` 0 an image lies on its batch's canvas as
    :func:`~tutelage.data.letterbox.letterbox_geometry` says; with a margin, as the data set's
    ``letterbox`` says.

    Args:
        index: The data set.
        image_size: Length of an image's longer side.
        batch: Images per batch.
        workers: Worker processes; 0: none.
        rect: Batches of similar shape on the smallest canvas, instead of squares.
        pad: Margin of rect canvases in strides before rounding up (YOLOv7 evaluates with 0.5).
        stride: Canvas sides of rect batches are multiples of it.
        share: Of several processes, the number of this one and their count: each sees every
            so-manieth batch, and all of them together see every image once.
    """
    batch = min(batch, len(index))
    plan = None
    if rect:
        plan = rect_plan(index.sizes, batch=batch, image_size=image_size, stride=stride, pad=pad)
    dataset = EvaluationDataset(index, image_size=image_size, rect=plan)
    order = plan.order if plan is not None else np.arange(len(index))
    mine, processes = share
    order = order[np.arange(len(order)) // batch % processes == mine]
    sampler = EpochSampler(len(order), shuffle=False, order=order)
    return _loader(dataset, EpochBatches(sampler, batch=batch), workers=workers)


def collate(loaded: Sequence[LoadedSample]) -> Batch:
    """Put samples onto one canvas, centred in grey, and flatten their boxes.

    The canvas is as large as the largest asked for: batches that Accelerate fills up for the last
    process can mix shapes. Images are channels-last in memory, which costs no transposition.

    Args:
        loaded: The samples.
    """
    height, width = (max(one.canvas_hw[axis] for one in loaded) for axis in (0, 1))
    images = np.empty((len(loaded), height, width, 3), np.uint8)
    boxes: list[np.ndarray] = []
    for canvas, (sample, _, _) in zip(images, loaded, strict=True):
        new_w, new_h = sample.size_wh
        left, top = centred(width - new_w), centred(height - new_h)
        if (new_w, new_h) != (width, height):
            canvas.fill(GREY)
        canvas[top : top + new_h, left : left + new_w] = sample.image
        boxes.append(sample.xyxy + np.array([left, top, left, top], np.float32))
    counts = [len(box) for box in boxes]
    targets = Targets(
        image=torch.from_numpy(np.repeat(np.arange(len(loaded)), counts)),
        label=torch.from_numpy(np.concatenate([one.sample.label for one in loaded])),
        xyxy=torch.from_numpy(np.concatenate(boxes)),
    )
    ids = torch.tensor([one.position for one in loaded], dtype=torch.int64)
    return Batch(torch.from_numpy(images).permute(0, 3, 1, 2), targets, ids)


def _loader(
    dataset: DetectionDataset | EvaluationDataset | MixedDataset,
    batches: EpochBatches | MixedBatches,
    *,
    workers: int,
) -> DataLoader[LoadedSample]:
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=START_METHOD if workers else None,
        # Torch draws the workers' base seeds even if nobody uses them: not from the global stream.
        generator=torch.Generator(),
    )


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    # A terminal, a cluster and torchrun signal all processes. The one that trains decides, and may
    # need more batches to end its step; workers end with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
