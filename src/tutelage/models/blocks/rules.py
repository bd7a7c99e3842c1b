"""Channel rules: from the arguments of a yaml row to the arguments of its block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import nn

from tutelage.models.blocks.activation import Activation

Arguments = Sequence[Any]
"""The arguments of a row after parsing: numbers, booleans, None, strings, lists, activations."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule gets to know about its row.

    Attributes:
        inputs: Channels of each input.
        count: Depth-scaled repeat count.
        scale: Scales a nominal width.
        activation: The graph's default activation.
        mapping: The yaml mapping, for blocks whose rows do not say all.
    """

    inputs: tuple[int, ...]
    count: int
    scale: Callable[[int], int]
    activation: Activation
    mapping: Mapping[str, Any]


class BlockArguments(NamedTuple):
    """How to build a row: constructor arguments, output channels, number of copies in a chain."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    channels: int
    copies: int = 1


Rule = Callable[[Scope, Arguments], BlockArguments]


def convolution(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, k, s, p, g, (d), (act)]``: ``d`` and ``act`` are both optional."""
    return _convolution(scope, args, before_dilation=4)


def depthwise(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, k, s, (d), (act)]``."""
    return _convolution(scope, args, before_dilation=2)


def scaled(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, ...]``: a block with activations, repeated by chaining copies of it."""
    c2 = _width(scope, args)
    return BlockArguments(
        (_single(scope), c2, *args[1:]), {"activation": scope.activation}, c2, scope.count
    )


def counted(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, ...]``: a block that takes the repeat count itself, as its third argument."""
    c2 = _width(scope, args)
    options = {"activation": scope.activation}
    return BlockArguments((_single(scope), c2, scope.count, *args[1:]), options, c2)


def split(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, part]``: a block with activations and an inner width, repeated by chaining."""
    c2, part = _width(scope, args), _width(scope, args[1:])
    options = {"activation": scope.activation}
    return BlockArguments((_single(scope), c2, part), options, c2, scope.count)


def split_counted(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, part]``: a block that takes the repeat count itself, before its inner width."""
    c2, part = _width(scope, args), _width(scope, args[1:])
    options = {"activation": scope.activation}
    return BlockArguments((_single(scope), c2, scope.count, part), options, c2)


def parts(scope: Scope, args: Arguments) -> BlockArguments:
    """``[[c, ...]]``: a bare 1 x 1 convolution to maps of these widths, joined."""
    c2 = sum(_widths(scope, args[0] if args else None))
    return BlockArguments((_single(scope), c2, 1), {}, c2, scope.count)


def part_sums(scope: Scope, args: Arguments) -> BlockArguments:
    """``[[c, ...], ...]``: for each input but the last, the parts before the one that is added."""
    *earlier, channels = scope.inputs
    first = [sum(_widths(scope, before)) for before in args]
    if len(first) != len(earlier):
        raise ValueError(f"takes a list for each input but the last, got {len(first)}")
    for start, given in zip(first, earlier, strict=True):
        if start + channels > given:
            raise ValueError(f"needs channels {start} to {start + channels} of a map of {given}")
    return BlockArguments(tuple(first), {}, channels)


def plain_convolution(scope: Scope, args: Arguments) -> BlockArguments:
    """``[c2, ...]``: a bare convolution."""
    c2 = _width(scope, args)
    return BlockArguments((_single(scope), c2, *args[1:]), {}, c2, scope.count)


def unchanged(scope: Scope, args: Arguments) -> BlockArguments:
    """Any arguments; as many channels out as in."""
    return BlockArguments(tuple(args), {}, _single(scope), scope.count)


def quadrupled(scope: Scope, args: Arguments) -> BlockArguments:
    """No arguments; four times the channels."""
    return BlockArguments(tuple(args), {}, 4 * _single(scope))


def normalised(scope: Scope, args: Arguments) -> BlockArguments:
    """No arguments of its own; the constructor gets the channels."""
    del args
    return BlockArguments((_single(scope),), {}, _single(scope), scope.count)


def joined(scope: Scope, args: Arguments) -> BlockArguments:
    """``[1]``: the sum of the channels."""
    if tuple(args) not in ((), (1,)):
        raise ValueError(f"joins along channels, dimension 1; got {list(args)}")
    return BlockArguments((), {}, sum(scope.inputs))


def added(scope: Scope, args: Arguments) -> BlockArguments:
    """Two inputs of equal channels; the argument has no meaning."""
    del args
    if len(scope.inputs) != 2 or scope.inputs[0] != scope.inputs[1]:
        raise ValueError(f"adds two inputs of equal channels, got channels {list(scope.inputs)}")
    return BlockArguments((), {}, scope.inputs[0])


def _convolution(scope: Scope, args: Arguments, before_dilation: int) -> BlockArguments:
    c2 = _width(scope, args)
    rest, activation = list(args[1:]), scope.activation
    tail = rest[before_dilation:]
    if tail and (isinstance(tail[-1], bool) or tail[-1] is None or callable(tail[-1])):
        last = rest.pop()
        if last is not True:
            activation = last if callable(last) else nn.Identity
    if len(rest) > before_dilation + 1:
        raise ValueError(f"has too many arguments: {list(args)}")
    return BlockArguments((_single(scope), c2, *rest), {"activation": activation}, c2, scope.count)


def _single(scope: Scope) -> int:
    if len(scope.inputs) != 1:
        raise ValueError(f"takes one input, got {len(scope.inputs)}")
    return scope.inputs[0]


def _widths(scope: Scope, value: Any) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(f"needs a list of channels, got {value!r}")
    return [_width(scope, [item]) for item in cast("list[Any]", value)]


def _width(scope: Scope, args: Arguments) -> int:
    if not args or isinstance(args[0], bool) or not isinstance(args[0], int) or args[0] < 1:
        raise ValueError("needs its output channels (a positive integer) as first argument")
    return scope.scale(args[0])
