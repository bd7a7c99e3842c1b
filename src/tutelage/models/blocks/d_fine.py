"""The blocks of D-FINE, from the transformers library: backbone HGNetV2 and hybrid encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.models.blocks.rules import Arguments, BlockArguments, Rule, Scope
from tutelage.models.d_fine import SETTINGS, read_settings

Widths = Callable[[Any, int], int]
"""From the configuration of a D-FINE and the number of a part to its output channels."""


def part(width: Widths) -> Rule:
    """Return the rule of a part of a D-FINE: ``[i]``, its number among its kind, or nothing."""

    def rule(scope: Scope, args: Arguments) -> BlockArguments:
        number = args[0] if args else 0
        if isinstance(number, bool) or not isinstance(number, int) or number < 0 or len(args) > 1:
            raise ValueError(f"takes the number of the part, got {list(args)}")
        config = read_settings(scope.mapping.get(SETTINGS), scope.mapping["nc"])
        try:
            return BlockArguments((config, number), {}, width(config, number))
        except IndexError:
            raise ValueError(f"the settings have no part {number}") from None

    return rule


def stem_width(config: Any, number: int) -> int:
    """Return the channels of the stem."""
    del number
    return config.backbone_config.stem_channels[-1]


def stage_width(config: Any, number: int) -> int:
    """Return the channels of a stage of the backbone."""
    return config.backbone_config.stage_out_channels[number]


def encoder_width(config: Any, number: int) -> int:
    """Return the channels of all maps of the encoder."""
    del number
    return config.encoder_hidden_dim


def stem(config: Any, number: int) -> nn.Module:
    """Make the convolutions before the stages: stride 4."""
    from transformers.models.hgnet_v2.modeling_hgnet_v2 import HGNetV2Embeddings

    del number
    return _normalised(HGNetV2Embeddings(config.backbone_config), config)


def stage(config: Any, number: int) -> nn.Module:
    """Make a stage of the backbone."""
    from transformers.models.hgnet_v2.modeling_hgnet_v2 import HGNetV2Stage

    return _normalised(HGNetV2Stage(config.backbone_config, number), config)


def encoder_input(config: Any, number: int) -> nn.Module:
    """Make the projection of a map of the backbone to the width of the encoder."""
    stages = config.backbone_config.out_features
    channels = stage_width(config, int(stages[number].removeprefix("stage")) - 1)
    width = config.encoder_hidden_dim
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))


def attention(config: Any, number: int) -> nn.Module:
    """Make the attention among the cells of a map."""
    from transformers.models.d_fine.modeling_d_fine import DFineAIFILayer

    del number
    layer: Any = DFineAIFILayer(config)
    layer.position_embedding = _Positions(layer.position_embedding)
    return layer


class _Positions(nn.Module):
    """The library's embedding of positions, for sizes that stay free while a network is traced.

    The library turns height and width into numbers, so that an export would fit one size only.

    Args:
        like: The library's module.
    """

    def __init__(self, like: Any) -> None:
        super().__init__()
        self.width, self.temperature = like.embed_dim, like.temperature

    def forward(self, width: int, height: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return ``(1, height · width, c)``."""
        from transformers.models.d_fine.modeling_d_fine import (
            build_2d_sinusoidal_position_embedding,
        )

        return build_2d_sinusoidal_position_embedding(
            height, width, self.width, self.temperature, device=device, dtype=dtype
        )[None]


def lateral(config: Any, number: int) -> nn.Module:
    """Make the convolution of a map before it goes to a finer one."""
    from transformers.models.d_fine.modeling_d_fine import DFineConvNormLayer

    del number
    width = config.encoder_hidden_dim
    return DFineConvNormLayer(config, width, width, 1, 1)


def fusion(config: Any, number: int) -> nn.Module:
    """Make the block that fuses two maps, top-down and bottom-up."""
    from transformers.models.d_fine.modeling_d_fine import DFineRepNCSPELAN4

    del number
    return DFineRepNCSPELAN4(config, numb_blocks=round(3 * config.depth_mult))


def down(config: Any, number: int) -> nn.Module:
    """Make the convolutions of a map before it goes to a coarser one."""
    from transformers.models.d_fine.modeling_d_fine import DFineSCDown

    del number
    return DFineSCDown(config, 3, 2)


def _normalised(module: nn.Module, config: Any) -> nn.Module:
    """Freeze the normalisation of a part of the backbone, if the settings say so."""
    from transformers.models.d_fine.modeling_d_fine import replace_batch_norm

    if config.freeze_backbone_batch_norms:
        with torch.no_grad():
            replace_batch_norm(module)
    return module
