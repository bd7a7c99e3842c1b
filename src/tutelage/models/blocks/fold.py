"""Folding: blocks that have a cheaper equal form once training is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn


class Foldable(nn.Module, ABC):
    """A block with a deploy form that computes the same function in evaluation mode."""

    @abstractmethod
    def deployed(self) -> nn.Module:
        """Return the deploy form as a new module; this one stays as it is."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Make the BatchNorm of YOLOv5 and YOLOv7 (eps 1e-3, momentum 0.03)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


def fold_batch_norm(kernel: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Fold an evaluation-mode BatchNorm into the bias-free convolution before it.

    Args:
        kernel: ``(out, in, kh, kw)`` weights.
        bn: BatchNorm over the ``out`` channels.

    Returns:
        Kernel of the same shape and bias ``(out,)``, at least float32.
    """
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        raise ValueError("a BatchNorm without running statistics cannot be folded")
    kind = torch.promote_types(kernel.dtype, torch.float32)
    scale = bn.weight.detach().to(kind) * torch.rsqrt(variance.to(kind) + bn.eps)
    folded = kernel.detach().to(kind) * scale.view(-1, 1, 1, 1)
    return folded, bn.bias.detach().to(kind) - mean.to(kind) * scale


def biased_convolution(like: nn.Conv2d, kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    """Make a convolution like ``like``, with these weights in its dtype."""
    conv = nn.Conv2d(
        like.in_channels,
        like.out_channels,
        (like.kernel_size[0], like.kernel_size[1]),
        stride=(like.stride[0], like.stride[1]),
        padding=cast("tuple[int, int]", like.padding),
        dilation=(like.dilation[0], like.dilation[1]),
        groups=like.groups,
        device="meta",
    )
    conv.weight = nn.Parameter(kernel.to(like.weight.dtype))
    conv.bias = nn.Parameter(bias.to(like.weight.dtype))
    return conv
