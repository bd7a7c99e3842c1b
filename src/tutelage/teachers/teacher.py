"""The protocol of teachers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from tutelage.sanitise import json_values
from tutelage.structures import Knowledge, Tap


@runtime_checkable
class Teacher(Protocol):
    """A frozen network that returns features and predictions.

    A teacher is given the student's own tensor ``(b, 3, h, w)``, RGB 0..1, normalises it itself,
    and does not resize it. It is no submodule of the task: it is in no optimizer, no DDP wrapper,
    no EMA, no checkpoint and no export.

    Attributes:
        title: Its name in messages, e.g. ``yolov7``.
        names: Its class names, in the order of the class columns of its predictions.
        taps: The features that it returns, in order; by default the recommended ones, finest first.
        stride: Both sides of the images must be multiples of this.
        record: Identifies its weights for the run: ``source``, ``sha256`` of a file, ``content``
            (a hash that stays when the file is only saved again); also its ``image_size`` if known.
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
        """Return the same network with other taps, in the order of ``keys``."""
        ...

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers by name (for the proof that nothing changed)."""
        ...


def teacher_identity(record: Mapping[str, Any]) -> str:
    """Return the hash of a teacher's tensors and meaning, else of its file, else its name."""
    return identities(record)[0]


def identities(record: Mapping[str, Any]) -> list[str]:
    """Return all that identifies a teacher, the best first; older runs stored the file's hash."""
    return [str(record[key]) for key in ("content", "sha256", "source") if key in record]


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


def content_hash(state: Mapping[str, Tensor], meaning: object) -> str:
    """Return a hash of a network that does not depend on the file it was saved in.

    Args:
        state: Its tensors.
        meaning: What they mean: graph, class names, … as values for JSON.
    """
    text = json.dumps(json_values(meaning), sort_keys=True)
    return hashlib.sha256(f"{text} {fingerprint(sorted(state.items()))}".encode()).hexdigest()
