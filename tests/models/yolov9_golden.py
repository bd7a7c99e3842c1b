"""The goldens of YOLOv9: published weights by rule, under the published keys."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.models.repeatable_weights import GOLDEN, normal_of
from tutelage.models import GraphDetector, build
from tutelage.weights.yolov9_keys import yolov9_keys

CASES = ["yolov9-t", "yolov9-c"]


@cache
def golden(name: str) -> tuple[dict[str, Any], dict[str, list[int]], dict[str, Tensor]]:
    """Meta data, published state-dict shapes and arrays of a case."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        meta, keys = (json.loads(str(file[key])) for key in ("meta", "keys"))
        arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].ndim}
    return meta, keys, arrays


@cache
def published_state(name: str) -> dict[str, Tensor]:
    """The state dict of the published network, filled by the rule, without its first ``model.``."""
    state: dict[str, Tensor] = {}
    for key, shape in golden(name)[1].items():
        if key.endswith("num_batches_tracked"):
            value = torch.zeros(shape, dtype=torch.int64)
        elif "anc2vec" in key:
            value = torch.arange(16.0).view(shape)
        else:
            value = normal_of(key, shape)
        state[key.removeprefix("model.")] = value
    return state


@cache
def filled(name: str) -> GraphDetector:
    """Our network with these weights, in evaluation mode."""
    detector = build(name, ["a", "b", "c"])
    detector.load_state_dict(yolov9_keys(published_state(name)))
    return detector.eval()
