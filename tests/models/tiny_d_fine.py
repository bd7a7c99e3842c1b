"""Folders of a tiny D-FINE, as ``save_pretrained`` of transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LABELS = {0: "a", 1: "b", 2: "c"}


def configuration(**changes: Any) -> Any:
    """The settings of a D-FINE of 0.2 million parameters; 64 px have 84 cells for 20 queries."""
    from transformers import DFineConfig, HGNetV2Config

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 32, 48],
        stage_mid_channels=[8] * 4,
        stage_out_channels=[16, 32, 48, 64],
        stage_num_blocks=[1] * 4,
        stage_numb_of_layers=[1] * 4,
        hidden_sizes=[16, 32, 48, 64],
        out_features=["stage2", "stage3", "stage4"],
    )
    settings: dict[str, Any] = {
        "freeze_backbone_batch_norms": False,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [32, 48, 64],
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "d_model": 32,
        "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 32,
        "decoder_layers": 3,
        "decoder_attention_heads": 2,
        "num_queries": 20,
        "depth_mult": 0.34,
        "id2label": LABELS,
    }
    return DFineConfig(**{"backbone_config": backbone, **settings, **changes})


def network(**changes: Any) -> Any:
    """The library's own model, whose boxes and distributions differ from query to query."""
    from transformers import DFineForObjectDetection

    torch.manual_seed(0)
    model = DFineForObjectDetection(configuration(**changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bbox_embed" in name or "class_embed" in name or "lqe_layers" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return model


def write_folder(folder: Path, **changes: Any) -> str:
    """Write ``config.json`` alone; returns the model as a user names it."""
    configuration(**changes).save_pretrained(folder)
    return f"hf:{folder}"
