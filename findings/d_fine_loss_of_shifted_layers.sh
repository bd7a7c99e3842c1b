#!/usr/bin/env bash
# D-FINE refines distributions over the sides of a box layer by layer, and trains all layers: each by its own classes,
# boxes and distributions. Its decoder in transformers returns one more set of classes and boxes than of distributions,
# those before the first layer, and the loss pairs both from the first on: classes and boxes of each layer go with the
# distributions of the next. What is left over at the end is not trained: the classes of the last layer but one, and
# the distributions of the last layer, the one that is used. The other terms are there, so that training works, less
# well than published: the last distributions learn from the distances of boxes alone. The published code has both.
#
# Seen with transformers 5.24.0, torch 2.14.1, torchvision 0.29.1, scipy 1.17.1, Python 3.11; a D-FINE of 4 decoder
# layers with random weights, 2 images, denoising off (with it the denoising queries are trained as published)
#                                   before layer 1   layer 1   layer 2   layer 3   layer 4
#   gradient of the loss at classes yes              yes       yes       no        yes
#   cross-entropy of distributions                   yes       yes       yes       no; expected yes everywhere
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  transformers==5.24.0 tokenizers==0.23.3 huggingface_hub==2.4.0 safetensors==0.8.0 scipy==1.17.1 pillow==13.0.0 \
  numpy==2.4.6
export HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import torch
import transformers
from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

torch.manual_seed(0)
torch.set_num_threads(1)
LAYERS = 4
backbone = HGNetV2Config(
    stem_channels=[3, 8, 8],
    stage_in_channels=[8, 16, 32, 48],
    stage_mid_channels=[8] * 4,
    stage_out_channels=[16, 32, 48, 64],
    stage_num_blocks=[1] * 4,
    stage_numb_of_layers=[1] * 4,
    hidden_sizes=[16, 32, 48, 64],
    out_features=["stage2", "stage3", "stage4"],
)
config = DFineConfig(
    backbone_config=backbone,
    encoder_hidden_dim=32,
    encoder_in_channels=[32, 48, 64],
    decoder_in_channels=[32] * 3,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    d_model=32,
    decoder_layers=LAYERS,
    num_queries=20,
    num_denoising=0,
    num_labels=3,
)
model = DFineForObjectDetection(config).train()
for name, parameter in model.named_parameters():
    if "bbox_embed" in name or "lqe_layers" in name:  # else all layers give the same
        torch.nn.init.normal_(parameter, std=0.1)
labels = [{"class_labels": torch.tensor([i]), "boxes": torch.tensor([[0.5, 0.5, 0.3, 0.4]])} for i in range(2)]
out = model(pixel_values=torch.rand(2, 3, 64, 64), labels=labels)


def reached(loss, layers):
    gradient = torch.autograd.grad(loss, layers, retain_graph=True)[0]
    return [bool(layer.any()) for layer in gradient.unbind(1)]


classes = reached(out.loss, out.intermediate_logits)
terms = [value for name, value in out.loss_dict.items() if name.startswith("loss_fgl")]
distributions = reached(sum(terms), out.intermediate_predicted_corners)
print("transformers", transformers.__version__, "torch", torch.__version__)
print("classes before layer 1, of layers 1 to 4:", classes)
print("distributions of layers 1 to 4:", distributions)
if classes != [True, True, True, False, True] or distributions != [True, True, True, False]:
    sys.exit("transformers no longer behaves as described")
PY
