"""Data sets: formats, index, augmentation, loaders."""

from tutelage.data.dataset import DetectionDataset, EvaluationDataset
from tutelage.data.index import DatasetIndex, Finding, Item
from tutelage.data.loader import evaluation_loader, training_loader
from tutelage.data.opening import open_dataset
from tutelage.data.sample import Letterbox, Sample, letterbox, letterbox_geometry

__all__ = [
    "DatasetIndex",
    "DetectionDataset",
    "EvaluationDataset",
    "Finding",
    "Item",
    "Letterbox",
    "Sample",
    "evaluation_loader",
    "letterbox",
    "letterbox_geometry",
    "open_dataset",
    "training_loader",
]
