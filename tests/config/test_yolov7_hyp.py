from __future__ import annotations

import pytest

from tutelage.config.describe import leaves
from tutelage.config.load import changes, load_config
from tutelage.config.presets import PRESETS
from tutelage.config.yolov7_hyp import HYP
from tutelage.errors import ConfigError

V7_TINY = """
lr0: 0.01  # initial learning rate (SGD=1E-2, Adam=1E-3)
lrf: 0.01
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
box: 0.05
cls: 0.5
cls_pw: 1.0
obj: 1.0
obj_pw: 1.0
iou_t: 0.20
anchor_t: 4.0
# anchors: 3
fl_gamma: 0.0
hsv_h: 0.015
hsv_s: 0.7
hsv_v: 0.4
degrees: 0.0
translate: 0.1
scale: 0.5
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 1.0
mixup: 0.05
copy_paste: 0.0
paste_in: 0.05
loss_ota: 1
"""
V5_VOC = """
lr0: 0.00334
lrf: 0.15135
momentum: 0.74832
weight_decay: 0.00025
warmup_epochs: 3.3835
warmup_momentum: 0.59462
warmup_bias_lr: 0.18657
box: 0.02
cls: 0.21638
cls_pw: 0.5
obj: 0.51728
obj_pw: 0.67198
iou_t: 0.2
anchor_t: 3.3744
fl_gamma: 0.0
hsv_h: 0.01041
hsv_s: 0.54703
hsv_v: 0.27739
degrees: 0.0
translate: 0.04591
scale: 0.75544
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 0.85834
mixup: 0.04266
copy_paste: 0.0
anchors: 3.412
"""


@pytest.fixture
def hyp(tmp_path):
    def write(text: str, name: str = "hyp.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_the_table_leads_to_settings_and_hits_each_once() -> None:
    targets = list(HYP.values())
    assert set(targets) <= set(leaves())
    assert len(set(targets)) == len(targets)


def test_a_yolov7_file_loads_as_it_is(hyp) -> None:
    resolved = load_config(hyp=hyp(V7_TINY), flags={"preset": ("v7-tiny", "")})
    assert resolved.config.loss.assigner == "ota"
    changed = [key for key, _, _ in changes(resolved.config, resolved.origins)]
    assert changed == ["loss.scaling", "loss.assigner"]  # all the rest is equal to the preset
    assert resolved.config.loss.scaling == "reference"
    assert resolved.origins["optim.lr"] == "hyp.yaml:2, lr0"
    assert resolved.origins["augment.mixup"] == "hyp.yaml:29, mixup"
    assert len(resolved.notices) == 1
    assert "paste_in" in resolved.notices[0]
    assert "iou_t" in resolved.notices[0]
    assert "copy_paste" not in resolved.notices[0]  # switched off: nothing to tell


def test_a_yolov5_file_loads_as_it_is(hyp) -> None:
    resolved = load_config(hyp=hyp(V5_VOC), flags={"model.arch": ("yolov5s", "flag --cfg")})
    config = resolved.config
    assert config.preset == "v5-low"
    assert (config.optim.lr, config.optim.momentum, config.loss.cls_pw) == (0.00334, 0.74832, 0.5)
    assert (config.augment.mosaic, config.augment.mosaic9, config.augment.mixup_beta) == (
        0.85834,
        0,
        32,
    )
    assert "anchors (their number is the architecture's own)" in resolved.notices[0]
    assert config.loss.assigner == "auto"


def test_a_run_file_is_no_hyp_file(hyp) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(hyp=hyp("data: a.yaml\npreset: v7-p5\ntrain: {epochs: 3}\noptim: {lr: 1}\n"))
    assert str(caught.value) == (
        "hyp.yaml is no hyp file: 'train' is a group of settings (hyp.yaml:3) "
        "That is a run file: give it with --config."
    )


@pytest.mark.parametrize(
    ("line", "setting", "value"),
    [
        ("loss_ota: 0", "assigner", "anchor"),
        ("loss_ota: 1.0", "assigner", "ota"),
        ("label_smoothing: 0.1", "label_smoothing", 0.1),
        ("fl_gamma: 1.5", "fl_gamma", 1.5),
    ],
)
def test_loss_keys(hyp, line: str, setting: str, value: object) -> None:
    assert getattr(load_config(hyp=hyp(line)).config.loss, setting) == value


def test_layers_become_text_and_zero_anchors_are_silent(hyp) -> None:
    text = "student_kd_layers: [57, 65, 73]\nteacher_kd_layers: 75, 88, 101\nanchors: 0\n"
    config = load_config(hyp=hyp(text)).config
    assert config.distill.student_kd_layers == ("57", "65", "73")
    assert config.distill.teacher_kd_layers == ("75", "88", "101")
    assert not load_config(hyp=hyp("anchors: 0\n")).notices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: 0.01", r"A hyp file has no key 'lr' \(hyp.yaml:1\) Did you mean 'lr"),
        ("lrO: 0.01", r"Did you mean 'lr"),
        ("zzz: 1", r"no key 'zzz' \(hyp.yaml:1\) Keys: lr0 lrf"),
        ("train: {epochs: 3}", r"'train' is a group of settings \(hyp.yaml:1\).*--config"),
        ("loss_ota: 2", r"loss_ota: 2 cannot be used \(hyp.yaml:1\) Expected 1 \(OTA\) or 0"),
        (
            "box: 0.05\nlr0: -1",
            r"optim.lr: -1 cannot be used \(hyp.yaml:2, lr0\) Expected a number above 0",
        ),
        (
            "mosaic: 1.5",
            r"augment.mosaic: 1.5 cannot be used \(hyp.yaml:1, mosaic\) Expected .* from 0 to 1",
        ),
        ("lr0: .nan", r"optim.lr: nan cannot be used"),
    ],
)
def test_what_cannot_be_used_is_reported_with_its_line(hyp, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(hyp=hyp(text))


def test_a_published_file_that_is_not_here_is_a_preset() -> None:
    for preset, name in PRESETS.items():
        if not name:  # our own
            continue
        with pytest.raises(ConfigError, match=f"--preset {preset}$"):
            load_config(hyp=f"data/{name}")
