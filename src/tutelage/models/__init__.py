"""Detectors: YOLOv7 and YOLOv5 graphs with features as return values."""

from __future__ import annotations

from tutelage.models.build import build, load, load_weights
from tutelage.models.catalog import ARCHITECTURES
from tutelage.models.cost import LayerListing, ModelCost, cost, describe
from tutelage.models.detector import Detector
from tutelage.models.graph import GraphDetector, LayerInfo
from tutelage.models.transfer import TransferReport, transfer
from tutelage.models.weight_file import Checkpoint, read_checkpoint

__all__ = [
    "ARCHITECTURES",
    "Checkpoint",
    "ModelCost",
    "Detector",
    "GraphDetector",
    "LayerInfo",
    "LayerListing",
    "TransferReport",
    "build",
    "cost",
    "describe",
    "load",
    "load_weights",
    "read_checkpoint",
    "transfer",
]
