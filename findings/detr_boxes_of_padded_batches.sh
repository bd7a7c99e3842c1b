#!/usr/bin/env bash
# The image processors of DETR and its kin in transformers pad the pictures of a batch to one size, and give the boxes
# for training as fractions of the padded picture. Their post_process_object_detection multiplies boxes by
# target_sizes, the size of each picture, which has no padding. So a model that learned exactly what it was given is
# read wrong wherever a batch is padded: boxes shrink towards the upper left corner, by an amount that depends on the
# other pictures of the batch. One picture at a time, or pictures of one shape, are right, so that mAP changes with
# the batch size of the evaluation. The processor of RT-DETR, which does not pad, is right.
#
# Seen with transformers 5.23.0, torch 2.14.1, torchvision 0.29.1, Pillow 13.0.0, Python 3.11; labels of a processor
# given to its post_process_object_detection as the boxes of a model; an object of x 100..300, y 80..240 in pictures of
# 640 x 480 and 480 x 640; expected [100, 80, 300, 240] everywhere
#                     640 x 480 alone        in a batch of both
#                                            640 x 480              480 x 640
#   Detr              [100, 80, 300, 240]    [100, 60, 300, 180]    [75, 80, 225, 240]
#   ConditionalDetr, DeformableDetr, GroundingDino, RfDetr: the same
#   Yolos             [100, 80, 300, 240]    [100, 61, 300, 182]    [76, 80, 227, 240]
#   RTDetr            [100, 80, 300, 240]    [100, 80, 300, 240]    [100, 80, 300, 240]
# The IoU with the object is .56 (Yolos .57).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  transformers==5.23.0 tokenizers==0.23.3 huggingface_hub==2.4.0 safetensors==0.8.0 regex==2026.11.19 pillow==13.0.0 \
  numpy==2.4.6
export HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from types import SimpleNamespace

import torch
import torchvision
import transformers
from PIL import Image

torch.set_num_threads(1)
LEFT, TOP, WIDTH, HEIGHT = 100, 80, 200, 160
OBJECT = [LEFT, TOP, LEFT + WIDTH, TOP + HEIGHT]
LIKE_DETR = [OBJECT, [100, 60, 300, 180], [75, 80, 225, 240]]
EXPECTED = {
    "Detr": LIKE_DETR,
    "ConditionalDetr": LIKE_DETR,
    "DeformableDetr": LIKE_DETR,
    "GroundingDino": LIKE_DETR,
    "RfDetr": LIKE_DETR,
    "Yolos": [OBJECT, [100, 61, 300, 182], [76, 80, 227, 240]],
    "RTDetr": [OBJECT] * 3,
}


def there_and_back(processor, pictures):
    objects = [{"category_id": 0, "bbox": [LEFT, TOP, WIDTH, HEIGHT], "area": WIDTH * HEIGHT, "iscrowd": 0}]
    truth = [{"image_id": i, "annotations": objects} for i in range(len(pictures))]
    labels = processor(images=pictures, annotations=truth, return_tensors="pt")["labels"]
    perfect = SimpleNamespace(
        pred_boxes=torch.stack([label["boxes"] for label in labels]),
        logits=torch.tensor([[[20.0, -20.0]]] * len(pictures)),
    )
    sizes = torch.tensor([[picture.height, picture.width] for picture in pictures])
    results = processor.post_process_object_detection(perfect, threshold=0.5, target_sizes=sizes)
    return [[round(side) for side in result["boxes"][0].tolist()] for result in results]


print("transformers", transformers.__version__, "torch", torch.__version__, "torchvision", torchvision.__version__)
wide, high = Image.new("RGB", (640, 480)), Image.new("RGB", (480, 640))
seen = {}
for name in EXPECTED:
    processor = getattr(transformers, f"{name}ImageProcessor")()
    seen[name] = there_and_back(processor, [wide]) + there_and_back(processor, [wide, high])
    print(f"{name}: alone {seen[name][0]}, in a batch {seen[name][1]} {seen[name][2]}")
if seen != EXPECTED:
    sys.exit("transformers no longer behaves as described")
PY
