"""D-FINE of the transformers library as a graph: its settings, its rows and its weights' names.

Peng et al., *D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement*,
ICLR 2025, arXiv:2410.13842. The library holds the layers and the terms of the loss. The rows of
backbone and hybrid encoder are its modules, so that each map can be tapped; the head is its
decoder. The settings stand in the yaml mapping as plain values: nothing in them names code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import Tensor

from tutelage.optional_packages import require

SETTINGS = "d_fine"
"""The key of a yaml that holds the settings."""

MAX_LAYERS = 100  # of each kind; the largest published model has 6 in a row

_MODULES: Mapping[str, str] = {  # block → where the library keeps it
    "DFineStem": "model.backbone.model.embedder",
    "DFineStage": "model.backbone.model.encoder.stages.{}",
    "DFineInput": "model.encoder_input_proj.{}",
    "DFineAttention": "model.encoder.aifi.{}",
    "DFineLateral": "model.encoder.lateral_convs.{}",
    "DFineTopDown": "model.encoder.fpn_blocks.{}",
    "DFineDown": "model.encoder.downsample_convs.{}",
    "DFineBottomUp": "model.encoder.pan_blocks.{}",
}
_HEAD = "network."  # where DFineHead keeps what is left
_DENOISING = "model.denoising_class_embed."
_REPEATED = re.compile(r"layers|num_blocks|numb_of_layers|depth_mult")


def plain_settings(config: Any) -> dict[str, Any]:
    """Return what a configuration of the library says of the network and its loss.

    Names of classes, tasks, repositories and implementations are left out.
    """
    values = config.to_dict()
    backbone = values.get("backbone_config") or {}
    inner = type(config.backbone_config) if config.backbone_config is not None else None
    own = {key: values[key] for key in type(config).__annotations__ if key in values}
    kept = {key: backbone[key] for key in _fields(inner) if key in backbone} if inner else {}
    return {**own, "backbone_config": {"model_type": backbone.get("model_type"), **kept}}


def read_settings(settings: object, classes: int) -> Any:
    """Return the configuration of a D-FINE without denoising, for images of any size.

    Args:
        settings: As :func:`plain_settings` returns them; other entries are left out.
        classes: Number of classes.

    Raises:
        ValueError: They describe no D-FINE that can be trained here.
        MissingExtraError: transformers or SciPy is not installed.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{SETTINGS} must be the settings of a D-FINE, got {settings!r}")
    require("transformers", "scipy")
    from transformers import DFineConfig, HGNetV2Config

    make: Any = DFineConfig
    values = dict(cast("Mapping[str, Any]", settings))
    backbone = values.pop("backbone_config", None) or {}
    kind = backbone.get("model_type") if isinstance(backbone, dict) else backbone
    if kind != HGNetV2Config.model_type:
        raise ValueError(f"the backbone of a D-FINE must be a hgnet_v2, got {kind!r}")
    for key, value in (*values.items(), *backbone.items()):
        numbers = value if isinstance(value, list) else [value]
        many = any(isinstance(n, int | float) and n > MAX_LAYERS for n in numbers)
        if many and _REPEATED.search(key):
            raise ValueError(f"{key} must be at most {MAX_LAYERS}, got {value}")
    inner = {key: backbone[key] for key in _fields(HGNetV2Config) if key in backbone}
    own = {key: values[key] for key in DFineConfig.__annotations__ if key in values}
    own |= {"num_denoising": 0, "anchor_image_size": None, "eval_size": None}
    try:
        config = make(
            **{**own, "auxiliary_loss": True, "num_labels": classes},
            backbone_config=HGNetV2Config(**inner),
            attn_implementation={"": "sdpa", "backbone_config": "eager"},
        )
    except Exception as error:  # the library checks in many ways
        raise ValueError(f"{SETTINGS}: {' '.join(str(error).split())}") from error
    for fault in _faults(config):
        raise ValueError(f"{SETTINGS}: {fault}")
    return config


def _faults(config: Any) -> Iterator[str]:
    levels = len(config.backbone_config.out_features)
    if not levels == len(config.encoder_in_channels) == len(config.decoder_in_channels):
        yield f"out_features has {levels} maps, encoder_in_channels and decoder_in_channels another"
    if config.backbone_config.num_channels != 3:
        yield "num_channels must be 3, as images are read as RGB"
    if config.decoder_layers < 2:
        yield "decoder_layers must be at least 2: the library makes no D-FINE with fewer"
    if config.eval_idx not in (-1, config.decoder_layers - 1):
        yield f"eval_idx must be -1, the last decoder layer, got {config.eval_idx}"
    if config.learn_initial_query:
        yield "learn_initial_query must be false: queries are the features of their cells"
    if config.num_queries < 1:
        yield f"num_queries must be positive, got {config.num_queries}"


def graph(config: Any) -> dict[str, Any]:
    """Return the yaml mapping of a configuration of the library.

    Args:
        config: A ``DFineConfig``, or one of :func:`read_settings`.

    Raises:
        ValueError: It describes no D-FINE that can be trained here.
    """
    settings = plain_settings(config)
    known = read_settings(settings, config.num_labels)
    stages = [int(name.removeprefix("stage")) for name in known.backbone_config.out_features]
    backbone: list[list[Any]] = [[-1, 1, "DFineStem", []]]
    backbone += [[-1, 1, "DFineStage", [i]] for i in range(max(stages))]
    rows: list[list[Any]] = []

    def add(source: int | list[int], block: str, *args: Any) -> int:
        rows.append([source, 1, block, list(args)])
        return len(backbone) + len(rows) - 1

    maps = [add(stage, "DFineInput", i) for i, stage in enumerate(stages)]
    for i, level in enumerate(known.encode_proj_layers if known.encoder_layers else ()):
        maps[level] = add(maps[level], "DFineAttention", i)
    down = [maps[-1]]  # top-down, the coarsest first
    for i, finer in enumerate(reversed(maps[:-1])):
        down[-1] = add(down[-1], "DFineLateral", i)
        upper = add(down[-1], "nn.Upsample", None, 2, "nearest")
        joined = add([upper, finer], "Concat", 1)
        down.append(add(joined, "DFineTopDown", i))
    finest, *coarser = reversed(down)
    up = [finest]
    for i, level in enumerate(coarser):
        lower = add(up[-1], "DFineDown", i)
        joined = add([lower, level], "Concat", 1)
        up.append(add(joined, "DFineBottomUp", i))
    add(up, "DFineHead", "nc")
    return {
        "nc": config.num_labels,
        "family": "yolov7",
        SETTINGS: settings,
        "backbone": backbone,
        "head": rows,
    }


def graph_keys(state: Mapping[str, Tensor], mapping: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a state of the library under the names of the graph, without the denoising queries.

    Args:
        state: That of a ``DFineForObjectDetection``.
        mapping: What :func:`graph` returned.
    """
    rows = [*mapping["backbone"], *mapping["head"]]
    places = {
        f"{_MODULES[block].format(*args)}.": f"model.{row}."
        for row, (_, _, block, args) in enumerate(rows)
        if block in _MODULES
    }
    head = f"model.{len(rows) - 1}.{_HEAD}"
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith("model.") or key.startswith(_DENOISING):
            continue  # the heads beside ``model`` are those of its decoder once more
        part = next((part for part in places if key.startswith(part)), "model.")
        renamed[places.get(part, head) + key.removeprefix(part)] = value
    return renamed


def _fields(kind: Any) -> list[str]:
    """Return the names of the settings of a backbone."""
    return [key for key in kind.__annotations__ if not key.startswith("_")] + ["out_features"]
