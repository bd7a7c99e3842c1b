"""Data sets: formats, index, augmentation, loaders."""

from tutelage.data.cache import cache_root
from tutelage.data.dataset import DetectionDataset, EvaluationDataset
from tutelage.data.findings import Finding
from tutelage.data.formats.images import open_images
from tutelage.data.image import read_image
from tutelage.data.index import DatasetIndex, Item
from tutelage.data.loader import evaluation_loader, training_loader
from tutelage.data.opening import open_dataset, open_splits
from tutelage.data.sample import Letterbox, Sample, fitted_canvas, letterbox, letterbox_geometry

__all__ = [
    "DatasetIndex",
    "DetectionDataset",
    "EvaluationDataset",
    "Finding",
    "Item",
    "Letterbox",
    "Sample",
    "cache_root",
    "evaluation_loader",
    "fitted_canvas",
    "letterbox",
    "letterbox_geometry",
    "open_dataset",
    "open_images",
    "open_splits",
    "read_image",
    "training_loader",
]
