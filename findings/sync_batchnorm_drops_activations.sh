#!/usr/bin/env bash
# torch.nn.SyncBatchNorm.convert_sync_batchnorm makes a SyncBatchNorm of everything that is a BatchNorm. In many networks
# of timm, the usual backbones, BatchNorm is BatchNormAct2d, a subclass that also applies the activation: after the
# conversion the activations are gone. All weights and names are there, the state dict loads strictly both ways, and
# nothing is said: a network without most of its activations trains on several GPUs, and its weights are then
# used in one that has them. Lightning's Trainer(sync_batchnorm=True) calls the same. timm has a converter of its own,
# timm.layers.convert_sync_batchnorm, that is right. fuse_conv_bn_eval of torch drops the activation as well.
#
# Seen with timm 1.0.31, torch 2.14.1, lightning 2.6.6, Python 3.11; networks with random weights in evaluation on the
# CPU, where SyncBatchNorm is the same as BatchNorm; activations that are left; expected all, and equal outputs
#   network           activations in BatchNorm  torch  Lightning  timm   outputs equal: torch  Lightning  timm
#   resnet18          0                         0      0          0                     yes    yes        yes
#   efficientnet_b0   33 of 49 BatchNormAct2d   0      0          33                    no     no         yes
#   cspdarknet53      67 of 67                  0      0          67                    no     no         yes
#   regnety_002       27 of 44                  0      0          27                    no     no         yes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  timm==1.0.31 lightning==2.6.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import copy
import sys
import warnings

import timm
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import BatchNormAct2d, SyncBatchNormAct, convert_sync_batchnorm
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

warnings.simplefilter("ignore")
torch.manual_seed(0)
torch.set_num_threads(1)
converters = {
    "torch": nn.SyncBatchNorm.convert_sync_batchnorm,
    "lightning": TorchSyncBatchNorm().apply,
    "timm": convert_sync_batchnorm,
}


def activations(network):
    layers = [m for m in network.modules() if isinstance(m, (BatchNormAct2d, SyncBatchNormAct))]
    return len(layers), sum(not isinstance(layer.act, nn.Identity) for layer in layers)


seen = {}
images = torch.rand(1, 3, 64, 64)
with torch.no_grad():
    for name in ("resnet18", "efficientnet_b0", "cspdarknet53", "regnety_002"):
        network = timm.create_model(name, pretrained=False).eval()
        expected = network(images)
        layers, before = activations(network)
        seen[name] = [before]
        print(f"{name}: {before} activations in {layers} BatchNormAct2d")
        for title, convert in converters.items():
            converted = convert(copy.deepcopy(network)).eval()
            network.load_state_dict(converted.state_dict(), strict=True)
            left = activations(converted)[1]
            equal = torch.allclose(converted(images), expected, rtol=1e-3, atol=1e-5)
            seen[name].append((left, equal))
            print(f"  {title:9} {left} left, outputs equal: {equal}")
    convolution, norm = nn.Conv2d(3, 4, 1).eval(), BatchNormAct2d(4).eval()
    fused = fuse_conv_bn_eval(convolution, norm)(images)
    kept = torch.allclose(fused, norm(convolution(images)), atol=1e-5)
    print("fuse_conv_bn_eval keeps the activation:", kept)
wrong = kept or seen["resnet18"] != [0, (0, True), (0, True), (0, True)]
for name in ("efficientnet_b0", "cspdarknet53", "regnety_002"):
    before, *after = seen[name]
    wrong = wrong or not before or after != [(0, False), (0, False), (before, True)]
sys.exit(wrong)
PY
