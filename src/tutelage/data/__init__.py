"""Data sets: formats, index, augmentation, loaders."""

from tutelage.data.array_cache import cache_root
from tutelage.data.dataset import DetectionDataset, EvaluationDataset
from tutelage.data.findings import Finding
from tutelage.data.formats.image_folder import open_images
from tutelage.data.image import read_image
from tutelage.data.index import DatasetIndex, IndexedImage
from tutelage.data.letterbox import Letterbox, Sample, fitted_canvas, letterbox, letterbox_geometry
from tutelage.data.loader import evaluation_loader, training_loader
from tutelage.data.open_data import open_dataset, open_splits

__all__ = [
    "DatasetIndex",
    "DetectionDataset",
    "EvaluationDataset",
    "Finding",
    "IndexedImage",
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
