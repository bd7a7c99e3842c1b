"""Select matched predictions and all objectness logits from a head's raw output."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

Place = tuple[Tensor, Tensor, Tensor, Tensor]
"""Image, anchor, row and column of ``n`` predictions of one level, each ``(n,)`` int64."""


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: Tensor, *place: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*place)
        ctx.empty = torch.empty_like(level, device="meta")
        return level[place], level[..., 4].contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        picked, objectness = grads
        grad = torch.zeros_like(ctx.empty, device=picked.device)
        grad.index_put_(ctx.saved_tensors, picked, accumulate=True)
        grad[..., 4] += objectness
        return grad, None, None, None, None


def pick(level: Tensor, place: Place) -> tuple[Tensor, Tensor]:
    """Select some predictions, and the objectness of all, from one level.

    Equals two index expressions, but backward fills one tensor of the size of ``level``, where
    autograd would fill two and add them (most of the backward pass at 80 classes).

    Args:
        level: ``(b, na, ny, nx, k)`` logits, objectness at index 4.
        place: Indices of the predictions, possibly repeated.

    Returns:
        The predictions ``(n, k)`` and the objectness ``(b, na, ny, nx)``.
    """
    return cast("tuple[Tensor, Tensor]", _Pick.apply(level, *place))


def last_written(values: Tensor, place: Place, shape: torch.Size) -> Tensor:
    """Scatter values into zeros; of several values for one index the last is kept.

    Which one a plain indexed assignment keeps is undefined on a GPU and on several CPU threads.

    Args:
        values: ``(n,)``.
        place: Their indices.
        shape: ``(b, na, ny, nx)``.

    Returns:
        A tensor of this shape.
    """
    flat = torch.zeros_like(place[0])
    for index, size in zip(place, shape, strict=True):
        flat = flat * size + index
    order = torch.arange(len(values), device=values.device)
    last = order.new_zeros(shape.numel()).scatter_reduce_(0, flat, order, "amax")
    # All values for one index are now equal, so that their order does not matter.
    return values.new_zeros(shape.numel()).index_put_((flat,), values[last[flat]]).view(shape)
