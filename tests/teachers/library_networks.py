"""Networks of other libraries, built from configuration: nothing is downloaded."""

import torch
import transformers as hf
from torch import nn
from torchvision.models import get_model

from tutelage.teachers import FeatureTeacher
from tutelage.teachers.hugging_face import IMAGENET, PLAIN, hugging_face_teacher
from tutelage.teachers.torchvision import torchvision_teacher

LABELS = ("__background__", "a", "b", "c")
NAMES = {0: "a", 1: "b", 2: "c"}
SMALL = {
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "d_model": 32,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_queries": 20,
    "id2label": NAMES,
}
PYRAMID = {
    "encoder_hidden_dim": 32,
    "decoder_in_channels": [32, 32, 32],
    "encoder_in_channels": [32, 48, 64],
}
WIDTHS = {"hidden_sizes": [16, 32, 48, 64], "embedding_size": 16}
LEVELS = {"out_features": ["stage2", "stage3", "stage4"]}


def images(height, width, batch=2):
    """Blurred noise: images with structure, without which a random network sees one grey."""
    torch.manual_seed(1)
    coarse = torch.rand(batch, 3, 10, 10)
    return nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


@torch.no_grad()
def torchvision_detector(name):
    """A random detector whose features, scores and boxes vary, so that there are detections."""
    torch.manual_seed(0)
    model = get_model(name, weights=None, weights_backbone=None, num_classes=len(LABELS)).eval()
    for key, parameter in model.named_parameters():
        if any(part in key for part in ("cls_logits", "cls_score", "bbox_pred", "bbox_reg")):
            nn.init.normal_(parameter, std=0.05 if parameter.ndim > 1 else 0.5)
        elif any(part in key for part in ("classification_head", "regression_head")):
            nn.init.normal_(parameter, std=0.05)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    features = model.backbone(images(320, 320) * 4 - 2)
    if hasattr(model, "head"):
        model.head(list(features.values()))
    return model.eval()


def hugging_face_detector(family):
    torch.manual_seed(0)
    if family == "detr":
        resnet = hf.ResNetConfig(
            depths=[1] * 4, layer_type="basic", out_features=["stage4"], **WIDTHS
        )
        config = hf.DetrConfig(backbone_config=resnet, encoder_layers=1, **SMALL)
        return hf.DetrForObjectDetection(config)
    if family == "d_fine":
        narrow = {"stem_channels": [3, 8, 8], "stage_in_channels": [8, 16, 32, 48]}
        narrow |= {"stage_mid_channels": [8] * 4, "stage_out_channels": [16, 32, 48, 64]}
        narrow |= {"stage_num_blocks": [1] * 4, "stage_numb_of_layers": [1] * 4}
        net = hf.HGNetV2Config(hidden_sizes=[16, 32, 48, 64], **narrow, **LEVELS)
        return hf.DFineForObjectDetection(hf.DFineConfig(backbone_config=net, **PYRAMID, **SMALL))
    net = hf.RTDetrResNetConfig(depths=[1] * 4, layer_type="basic", **WIDTHS, **LEVELS)
    kinds = {
        "rt_detr": (hf.RTDetrConfig, hf.RTDetrForObjectDetection),
        "rt_detr_v2": (hf.RTDetrV2Config, hf.RTDetrV2ForObjectDetection),
    }
    config, kind = kinds[family]
    return kind(config(backbone_config=net, **PYRAMID, **SMALL))


class Net(nn.Module):
    """Strides 8 and 16, and a part that never runs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 8, 8)
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 6, 2, 2))
        self.idle = nn.Identity()

    def forward(self, x):
        return self.deep(self.norm(self.stem(x)))


def teacher(family):
    """A teacher of each kind, with random weights."""
    kind, _, name = family.partition(":")
    if kind == "torchvision":
        return torchvision_teacher(torchvision_detector(name), LABELS, title=name)
    if kind == "hf":
        mean, std = IMAGENET if name == "detr" else PLAIN
        return hugging_face_teacher(hugging_face_detector(name), mean=mean, std=std)
    return FeatureTeacher(Net(), {"p3": "stem", "p4": "deep"})
