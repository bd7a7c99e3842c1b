"""A teacher of one's own: any network with named submodules. Here a ResNet-18 of torchvision.

    OWN_TEACHER=resnet18.pth tutelage train --data data.yaml --teacher-weights own_teacher:build

from the folder of this file; OWN_TEACHER is a state dict, of ImageNet or of images like yours.
"""

import os

import torch
import torchvision

from tutelage.errors import WeightsError
from tutelage.teachers import FeatureTeacher

LEVELS = {"p3": "layer2", "p4": "layer3", "p5": "layer4"}  # strides 8, 16, 32: measured, not told


def build(device: torch.device) -> FeatureTeacher:
    """Return the teacher; Tutelage calls this with the device of the run."""
    path = os.environ.get("OWN_TEACHER")
    if not path:
        fix = "OWN_TEACHER=resnet18.pth tutelage …"
        raise WeightsError("OWN_TEACHER names no weights.", fix=fix)
    network = torchvision.models.resnet18()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return FeatureTeacher(
        network,
        LEVELS,
        mean=(0.485, 0.456, 0.406),  # it keeps the normalisation it was trained with
        std=(0.229, 0.224, 0.225),
        title="resnet18",
        device=device,
    )
