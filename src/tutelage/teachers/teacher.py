"""What a teacher is: a function from images to knowledge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from tutelage.structures import Knowledge, Tap


@runtime_checkable
class Teacher(Protocol):
    """A frozen network that shares what it knows.

    A teacher owns its normalisation and keeps our canvas: it is given the student's very tensor
    ``(b, 3, h, w)``, RGB 0..1. It is no ``nn.Module`` of the task: it is in no optimizer, no DDP
    wrapper, no EMA, no checkpoint and no export.

    Attributes:
        title: What it is called in plans and messages, e.g. ``yolov7``.
        names: Its class names, in the order of the class columns of its predictions.
        taps: The features that it shares, in order; at first all that it recommends, finest first.
        stride: Both sides of the images must be multiples of this.
        record: What identifies its weights (``source``, and ``sha256`` of a file), for the run.
    """

    title: str
    names: tuple[str, ...]
    taps: tuple[Tap, ...]
    stride: int
    record: dict[str, Any]

    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Return the tapped features and, on request, the decoded predictions."""
        ...

    def sharing(self, keys: Sequence[str]) -> Teacher:
        """Return the same network sharing other taps, in the order of ``keys``."""
        ...

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers by name (for the proof that nothing changed)."""
        ...


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return a hash of named tensors; equal if and only if they are bit-identical."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(name.encode())
        if tensor.numel():
            digest.update(
                tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
            )
    return digest.hexdigest()
