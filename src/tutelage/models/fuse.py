"""The deploy form of a model: a copy in which every block that can be folded is folded."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from tutelage.models.blocks.fold import Foldable

Model = TypeVar("Model", bound=nn.Module)


def fuse(model: Model) -> Model:
    """Return a folded, frozen, channels-last copy of ``model`` in evaluation mode.

    BatchNorm goes into the convolution before it, RepConv becomes one convolution, and implicit
    vectors go into the head. A model that is already folded gives an equal copy.
    """
    deploy = copy.deepcopy(model)
    _fold_children(deploy)
    deploy.eval().requires_grad_(False)
    return deploy.to(memory_format=torch.channels_last)


def _fold_children(parent: nn.Module) -> None:
    for name, child in parent.named_children():
        if isinstance(child, Foldable):
            parent.register_module(name, child.deployed())
        else:
            _fold_children(child)
