"""The blocks of a graph by their yaml names, each with its channel rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from tutelage.models.blocks import d_fine, rules
from tutelage.models.blocks.conv import Conv, DWConv, Focus
from tutelage.models.blocks.csp import C3, Bottleneck
from tutelage.models.blocks.depthwise import C3DS, DSConv
from tutelage.models.blocks.elan import DownC
from tutelage.models.blocks.fold import batch_norm
from tutelage.models.blocks.gelan import ELAN, AConv, ADown, CBFuse, RepNCSPELAN
from tutelage.models.blocks.rep import RepConv
from tutelage.models.blocks.resample import MP, SP, Concat, ReOrg, Shortcut
from tutelage.models.blocks.spp import SPP, SPPCSPC, SPPELAN, SPPF
from tutelage.models.blocks.stem import FocusBGR


class Block(NamedTuple):
    """How a row of a yaml becomes a module: its constructor and its channel rule."""

    make: Callable[..., nn.Module]
    rule: rules.Rule


BLOCKS: Mapping[str, Block] = {
    "Conv": Block(Conv, rules.convolution),
    "DWConv": Block(DWConv, rules.depthwise),
    "DSConv": Block(DSConv, rules.scaled),
    "RepConv": Block(RepConv, rules.convolution),
    "Focus": Block(Focus, rules.scaled),
    "FocusBGR": Block(FocusBGR, rules.scaled),
    "Bottleneck": Block(Bottleneck, rules.scaled),
    "C3": Block(C3, rules.counted),
    "C3DS": Block(C3DS, rules.counted),
    "SPP": Block(SPP, rules.scaled),
    "SPPF": Block(SPPF, rules.scaled),
    "SPPCSPC": Block(SPPCSPC, rules.counted),
    "DownC": Block(DownC, rules.counted),
    "ELAN": Block(ELAN, rules.split),
    "RepNCSPELAN": Block(RepNCSPELAN, rules.split_counted),
    "SPPELAN": Block(SPPELAN, rules.scaled),
    "AConv": Block(AConv, rules.scaled),
    "ADown": Block(ADown, rules.scaled),
    "CBLinear": Block(nn.Conv2d, rules.parts),
    "CBFuse": Block(CBFuse, rules.part_sums),
    "MP": Block(MP, rules.unchanged),
    "SP": Block(SP, rules.unchanged),
    "ReOrg": Block(ReOrg, rules.quadrupled),
    "Concat": Block(Concat, rules.joined),
    "Shortcut": Block(Shortcut, rules.added),
    "DFineStem": Block(d_fine.stem, d_fine.part(d_fine.stem_width)),
    "DFineStage": Block(d_fine.stage, d_fine.part(d_fine.stage_width)),
    "DFineInput": Block(d_fine.encoder_input, d_fine.part(d_fine.encoder_width)),
    "DFineAttention": Block(d_fine.attention, d_fine.part(d_fine.encoder_width)),
    "DFineLateral": Block(d_fine.lateral, d_fine.part(d_fine.encoder_width)),
    "DFineTopDown": Block(d_fine.fusion, d_fine.part(d_fine.encoder_width)),
    "DFineDown": Block(d_fine.down, d_fine.part(d_fine.encoder_width)),
    "DFineBottomUp": Block(d_fine.fusion, d_fine.part(d_fine.encoder_width)),
    "nn.Conv2d": Block(nn.Conv2d, rules.plain_convolution),
    "nn.BatchNorm2d": Block(batch_norm, rules.normalised),
    "nn.Identity": Block(nn.Identity, rules.unchanged),
    "nn.MaxPool2d": Block(nn.MaxPool2d, rules.unchanged),
    "nn.Upsample": Block(nn.Upsample, rules.unchanged),
    "nn.ZeroPad2d": Block(nn.ZeroPad2d, rules.unchanged),
}

__all__ = ["BLOCKS", "Block"]
