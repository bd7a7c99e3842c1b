#!/usr/bin/env bash
# wrap_dataset_for_transforms_v2 of torchvision promises "boxes" and "labels" for CocoDetection. An image without objects
# gets a target that has neither, also when target_keys asks for them: {"image_id": 2}. Transforms that look at boxes
# refuse it, and a detector in training raises KeyError, in the middle of an epoch and only once such an image is drawn.
# Images of nothing belong into training; whoever filters them out to mend this loses what they teach.
#
# Seen with torchvision 0.29.1, torch 2.14.1, pycocotools 2.0.11, Python 3.11:
#   keys of an image with an object: boxes image_id labels; of one without: image_id
#   RandomHorizontalFlip works, RandomIoUCrop TypeError, SanitizeBoundingBoxes ValueError, FCOS in training KeyError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  pycocotools==2.0.11
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection import fcos_resnet50_fpn
from torchvision.transforms import v2

folder = Path(sys.argv[1])
names = {1: "object.png", 2: "background.png"}
for name in names.values():
    Image.new("RGB", (64, 48), (90, 90, 90)).save(folder / name)
box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
truth = {
    "images": [{"id": n, "file_name": f, "width": 64, "height": 48} for n, f in names.items()],
    "categories": [{"id": 1, "name": "cell"}],
    "annotations": [box],
}
(folder / "truth.json").write_text(json.dumps(truth))
with contextlib.redirect_stdout(io.StringIO()):
    dataset = CocoDetection(folder, folder / "truth.json")
wanted = ("boxes", "labels", "image_id")
samples = [*wrap_dataset_for_transforms_v2(dataset, target_keys=wanted)]
keys = [sorted(target) for _, target in samples]
print("keys of an image with an object:", *keys[0])
print("keys of an image without:", *keys[1])


def outcome(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "works"


model = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, min_size=64, max_size=64)
images = [v2.functional.to_dtype(v2.functional.to_image(i), torch.float32, scale=True) for i, _ in samples]
outcomes = {
    each.__name__: outcome(lambda each=each: each()(*samples[1]))
    for each in (v2.RandomHorizontalFlip, v2.RandomIoUCrop, v2.SanitizeBoundingBoxes)
} | {"FCOS": outcome(lambda: model(images, [target for _, target in samples]))}
for name, found in outcomes.items():
    print(f"{name} on an image without objects: {found}")
expected = ["works", "TypeError", "ValueError", "KeyError"]
sys.exit(keys != [sorted(wanted), ["image_id"]] or [*outcomes.values()] != expected)
PY
