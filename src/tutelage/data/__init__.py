"""Data sets: formats, index, augmentation, loaders."""

from tutelage.data.dataset import DetectionDataset, EvaluationDataset
from tutelage.data.findings import Finding
from tutelage.data.image import read_image
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import fitted_canvas, letterbox
from tutelage.data.loader import evaluation_loader, training_loader

# The formats may import the above from here.
# isort: split

from tutelage.data.formats.image_folder import open_images
from tutelage.data.opening import open_dataset, open_splits

__all__ = [
    "DatasetIndex",
    "DetectionDataset",
    "EvaluationDataset",
    "Finding",
    "evaluation_loader",
    "fitted_canvas",
    "letterbox",
    "open_dataset",
    "open_images",
    "open_splits",
    "read_image",
    "training_loader",
]
