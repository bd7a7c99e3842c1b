"""Activations, and how a model yaml spells them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.errors import nearest

Activation = Callable[[], nn.Module]
"""Makes one activation module; each layer gets its own."""


class SiLU(nn.Module):
    """``x * sigmoid(x)``, written over its input when autograd does not need that input.

    An in-place SiLU under autograd copies its input first, which costs more than it saves.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map any tensor to one of the same shape; the input may be overwritten."""
        return F.silu(x, inplace=not x.requires_grad)


ACTIVATIONS: Mapping[str, Activation] = {
    "SiLU": SiLU,
    "ReLU": partial(nn.ReLU, inplace=True),
    "ReLU6": partial(nn.ReLU6, inplace=True),
    "LeakyReLU": partial(nn.LeakyReLU, inplace=True),
    "Hardswish": nn.Hardswish,
    "Mish": nn.Mish,
    "GELU": nn.GELU,
    "ELU": nn.ELU,
    "Identity": nn.Identity,
}

_SPELLING = re.compile(r"nn\.(\w+)\((.*)\)")
_OPTION = re.compile(r"(?:(\w+)\s*=\s*)?([-+.\w]+)")


def looks_like_activation(text: str) -> bool:
    """Return whether ``text`` has the form ``nn.Name(...)``."""
    return _SPELLING.fullmatch(text.strip()) is not None


def parse_activation(text: str) -> Activation:
    """Read a yaml spelling such as ``nn.LeakyReLU(0.1)`` or ``nn.SiLU()``. Nothing is evaluated.

    Raises:
        ValueError: The name is unknown or its options are not plain numbers.
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"'{text}' is not an activation; expected e.g. nn.SiLU() or nn.LeakyReLU(0.1)"
        )
    name, inside = match.groups()
    if name not in ACTIVATIONS:
        hint = nearest(name, ACTIVATIONS) or f"Known: {', '.join(ACTIVATIONS)}"
        raise ValueError(f"unknown activation 'nn.{name}'. {hint}")
    numbers: list[float] = []
    options: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in inside.split(","))):
        option = _OPTION.fullmatch(part)
        if option is None:
            raise ValueError(f"cannot read '{part}' in '{text}'")
        key, value = option.groups()
        if key == "inplace":
            continue  # decided per activation above
        try:
            number = float(value)
        except ValueError as error:
            raise ValueError(f"'{part}' in '{text}' is not a number") from error
        if key is None:
            numbers.append(number)
        else:
            options[key] = number
    make = (
        partial(ACTIVATIONS[name], *numbers, **options) if numbers or options else ACTIVATIONS[name]
    )
    try:
        make()
    except TypeError as error:
        raise ValueError(f"'{text}' has options that nn.{name} does not take") from error
    return make
