"""From a checked description to modules: row by row, each tried on the meta device at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from tutelage.errors import ConfigError
from tutelage.models.architecture import IMAGE, Architecture, GraphRow
from tutelage.models.blocks import BLOCKS
from tutelage.models.blocks.conv import Conv
from tutelage.models.blocks.rep import RepConv
from tutelage.models.blocks.rules import Scope
from tutelage.models.heads import Head
from tutelage.models.meta_device import image, on_meta, without_values

PROBE = 256
"""Side of the square image on which strides are found; a multiple of every stride."""


MAX_PARAMETERS = 200_000_000
"""Of a row; the largest row of a published model has 20 million."""


class LayerInfo(NamedTuple):
    """What is known of a row of a graph.

    Attributes:
        key: The row index as a string.
        block: The block's yaml name.
        channels: Output channels (of the head: outputs per cell).
        stride: Pixels per cell of the output (of the head, and of rows that are gone: 0).
        sources: Keys of the rows that it reads; "image" is the input.
        repeats: Depth-scaled repeat count.
    """

    key: str
    block: str
    channels: int
    stride: int
    sources: tuple[str, ...]
    repeats: int


class BuiltGraph(NamedTuple):
    """The modules of a graph and what is known of them."""

    body: list[nn.Module]
    head: Head
    layers: tuple[LayerInfo, ...]


def construct(arch: Architecture) -> BuiltGraph:
    """Make all modules of ``arch``.

    Raises:
        ConfigError: A row cannot be built or does not fit its inputs.
    """
    maps: dict[int, Tensor] = {IMAGE: image((PROBE, PROBE), arch.image_channels)}
    body: list[nn.Module] = []
    layers: list[LayerInfo] = []
    for row in arch.rows[:-1]:
        inputs = [maps[source] for source in row.sources]
        try:
            module, channels = _make(row, arch, tuple(x.shape[1] for x in inputs))
            maps[row.index] = on_meta(module.eval(), inputs)  # less to do than in training
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{arch.name}, {row.text}: {reason}", code="C28") from error
        shape = maps[row.index].shape
        if shape[1] != channels:
            raise RuntimeError(f"{row.text}: expected {channels} channels, got {shape[1]}")
        body.append(module.train())
        layers.append(_layer_info(row, channels, round(PROBE / shape[-2])))
    row = arch.rows[-1]
    head = _make_head(row, arch, [maps[source] for source in row.sources])
    return BuiltGraph(body, head, (*layers, _layer_info(row, arch.outputs, 0)))


def _make(row: GraphRow, arch: Architecture, inputs: tuple[int, ...]) -> tuple[nn.Module, int]:
    block = BLOCKS[row.block]
    scope = Scope(inputs, row.count, arch.scale, arch.activation, arch.mapping)
    plan = block.rule(scope, row.args)
    with without_values():  # a yaml may ask for more than any machine has
        trial = block.make(*plan.args, **plan.options)
    parameters = plan.copies * sum(parameter.numel() for parameter in trial.parameters())
    if parameters > MAX_PARAMETERS:
        raise ValueError(f"{parameters:,} parameters are more than {MAX_PARAMETERS:,}")
    copies = [block.make(*plan.args, **plan.options) for _ in range(plan.copies)]
    return copies[0] if len(copies) == 1 else nn.Sequential(*copies), plan.channels


def _make_head(row: GraphRow, arch: Architecture, inputs: list[Tensor]) -> Head:
    strides: list[int] = []
    for source, x in zip(row.sources, inputs, strict=True):
        stride, rest = divmod(PROBE, x.shape[-2])
        if rest:
            raise ConfigError(
                f"{arch.name}, {row.text}: row {source} has no whole stride", code="C28"
            )
        strides.append(stride)
    levels = len(arch.lead)
    lead, auxiliary = strides[:levels], strides[levels:]
    if auxiliary not in ([], lead):
        raise ConfigError(
            f"{arch.name}, {row.text}: the auxiliary rows have strides {auxiliary}, "
            f"the lead rows {lead}",
            code="C28",
        )
    make: Any = arch.head
    return make(
        [x.shape[1] for x in inputs],
        strides=lead,
        classes=arch.classes,
        family=arch.family,
        **arch.head_options,
    )


def _layer_info(row: GraphRow, channels: int, stride: int) -> LayerInfo:
    sources = tuple("image" if source == IMAGE else str(source) for source in row.sources)
    return LayerInfo(str(row.index), row.block, channels, stride, sources, row.count)


def default_levels(arch: Architecture, parts: BuiltGraph) -> Mapping[str, str]:
    """Name one tap per pyramid level after its stride: p3 has stride 8, p4 16, and so on.

    The tap is the input of the head; where that input is a 3 x 3 Conv or a RepConv that feeds
    nothing but the head, it is the layer before, as in YOLOv7, where features are compared.
    """
    if arch.levels:
        return {name: str(row) for name, row in arch.levels.items()}
    uses = [source for row in arch.rows for source in row.sources]
    names = [f"p{round(math.log2(stride))}" for stride in parts.head.strides]
    if len(set(names)) < len(names):
        names = [f"p{3 + place}" for place in range(len(names))]
    levels: dict[str, str] = {}
    for name, source in zip(names, arch.lead, strict=True):
        only_for_head = uses.count(source) == 1 and _is_last_convolution(parts.body[source])
        tap = arch.rows[source].sources[0] if only_for_head else source
        levels[name] = str(tap)
    return levels


def _is_last_convolution(module: nn.Module) -> bool:
    if isinstance(module, Conv):
        return module.conv.kernel_size == (3, 3)
    return isinstance(module, RepConv)
