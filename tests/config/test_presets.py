from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tutelage.config.describe import leaves
from tutelage.config.load import load_config
from tutelage.config.presets import PRESETS, default_preset, family_of, read_preset

# lrf, cls, obj, translate, scale, mixup: where the published recipes differ from each other.
PUBLISHED = {
    "v7-p5": (0.1, 0.3, 0.7, 0.2, 0.9, 0.15),
    "v7-p6": (0.2, 0.3, 0.7, 0.2, 0.9, 0.15),
    "v7-tiny": (0.01, 0.5, 1.0, 0.1, 0.5, 0.05),
    "v7-custom": (0.1, 0.3, 0.7, 0.2, 0.5, 0.0),
    "v5-low": (0.01, 0.5, 1.0, 0.1, 0.5, 0.0),
    "v5-med": (0.1, 0.3, 0.7, 0.1, 0.9, 0.1),
    "v5-high": (0.1, 0.3, 0.7, 0.1, 0.9, 0.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_is_the_published_recipe(name: str) -> None:
    config = load_config(flags={"preset": (name, "flag --preset")}).config
    optim, loss, augment = config.optim, config.loss, config.augment
    found = (optim.lrf, loss.cls, loss.obj, augment.translate, augment.scale, augment.mixup)
    assert found == PUBLISHED[name]
    seven = name.startswith("v7")
    assert optim.schedule == ("cosine" if seven else "linear")
    assert (augment.scale_up, augment.mosaic9, augment.mixup_beta, augment.max_aspect) == (
        (0.1, 0.2, 8, 20) if seven else (0, 0, 32, 100)
    )
    assert (optim.lr, optim.momentum, optim.weight_decay) == (0.01, 0.937, 0.0005)
    assert (optim.warmup_epochs, optim.warmup_momentum, optim.warmup_bias_lr) == (3, 0.8, 0.1)
    assert (loss.box, loss.cls_pw, loss.obj_pw, loss.anchor_t, loss.fl_gamma) == (0.05, 1, 1, 4, 0)
    assert (augment.hsv_h, augment.hsv_s, augment.hsv_v) == (0.015, 0.7, 0.4)
    assert (augment.degrees, augment.shear, augment.perspective, augment.flipud) == (0, 0, 0, 0)
    assert (augment.fliplr, augment.mosaic) == (0.5, 1)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_known_settings_only(name: str) -> None:
    settings = {f"{group}.{key}" for group, fields in read_preset(name).items() for key in fields}
    assert settings <= set(leaves())
    counts = {
        "small": 33,
        "small-yolox": 26,
        "yolox": 26,
        "yolox-tiny": 26,
        "yolox-nano": 26,
        "d-fine": 26,
    }
    assert len(settings) == counts.get(name, 32)


def test_yolox_is_the_published_recipe() -> None:
    sizes = {name: load_config(flags={"preset": (name, "")}).config for name in
             ("yolox", "yolox-tiny", "yolox-nano")}  # fmt: skip
    augment = {name: config.augment for name, config in sizes.items()}
    found = [(a.scale, a.scale_up, a.mosaic, a.mixup) for a in augment.values()]
    assert found == [(0.9, 0.1, 1, 1), (0.5, 0, 1, 0), (0.5, 0, 0.5, 0)]
    for config in sizes.values():
        optim = config.optim
        assert (optim.lr, optim.lrf, optim.momentum, optim.warmup_epochs) == (0.01, 0.05, 0.9, 5)
        assert optim.schedule == "yolox"
        assert (config.augment.degrees, config.augment.shear) == (10, 2)
        assert config.augment.close_mosaic == 15


def test_small_is_v7_tiny_without_mosaic_and_with_larger_steps() -> None:
    tiny, small = read_preset("v7-tiny"), read_preset("small")
    changed = {"scale": 0.3, "mosaic": 0.0, "mixup": 0.0}
    augment = {**tiny["augment"], **changed}
    optim = {**tiny["optim"], "lr": 0.05}
    assert small == {**tiny, "optim": optim, "augment": augment, "train": {"ema_share": 0.1}}
    assert load_config(flags={"preset": ("small", "flag --preset")}).config.augment.mosaic == 0


def test_small_has_larger_steps_for_yolox_and_no_gains() -> None:
    small, yolox = read_preset("small"), read_preset("small-yolox")
    same = {name: small[name] for name in ("augment", "train")}
    optim = {**small["optim"], "lr": 0.2}
    assert yolox == {**same, "optim": optim, "distill": {"ratio": 0.5}}


@pytest.mark.parametrize(
    ("arch", "chosen"), [("yolox-nano", "small-yolox"), ("yolov7-tiny", "small"), (None, "small")]
)
def test_small_follows_the_family(arch: str | None, chosen: str) -> None:
    flags = {"preset": ("small", "flag --preset")}
    if arch:
        flags["model.arch"] = (arch, "flag --cfg")
    resolved = load_config(flags=flags)
    assert (resolved.config.preset, resolved.origins["preset"]) == (chosen, "flag --preset")
    assert resolved.origins["optim.lr"] == f"preset {chosen}"


def test_every_preset_file_is_listed() -> None:
    folder = Path(__file__).parents[2] / "src" / "tutelage" / "config" / "presets"
    assert {path.stem for path in folder.iterdir()} == set(PRESETS)
    with pytest.raises(KeyError):
        read_preset("../schema")


@pytest.mark.parametrize(
    ("arch", "weights", "preset"),
    [
        (None, None, "v7-tiny"),  # the default architecture
        ("yolov7-tiny", None, "v7-tiny"),
        ("yolov7-tiny@0.5", None, "v7-tiny"),
        ("yolov9-t@0.5", None, "v7-tiny"),
        ("yolov9-s", None, "v7-tiny"),
        ("yolov9-c", None, "v7-p5"),
        ("yolov9-t", "v9-t.pt", "v7-custom"),
        ("yolov7", None, "v7-p5"),
        ("yolov7x", None, "v7-p5"),
        ("yolov7-w6", None, "v7-p6"),
        ("yolov7-e6e", None, "v7-p6"),
        ("yolov7-tiny", "yolov7-tiny.pt", "v7-custom"),
        ("yolov7", "yolov7_training.pt", "v7-custom"),
        (None, "yolov7-tiny.pt", "v7-custom"),
        (None, "somewhere/best.pt", "v7-custom"),  # missing file: someone else reports it
        ("yolov5n", None, "v5-low"),
        ("yolov5s", None, "v5-low"),
        ("yolov5m", None, "v5-med"),
        ("yolov5l", None, "v5-high"),
        ("yolov5x6", None, "v5-high"),
        ("yolov5x", "yolov5x.pt", "v5-low"),
        (None, "yolov5s.pt", "v5-low"),
        ("models/yolov5m.yaml", None, "v5-med"),
        ("yolox-nano", None, "yolox-nano"),
        ("yolox-nano@0.5", None, "yolox-nano"),
        ("models/yolox-tiny-mine.yaml", None, "yolox-tiny"),
        ("yolox-s", "yolox_s.pth", "yolox"),
        (None, "yolox_nano.pth", "yolox-nano"),
        (None, "yolox_x.pth", "yolox"),
    ],
)
def test_the_default_preset(arch: str | None, weights: str | None, preset: str) -> None:
    assert default_preset(arch, weights is not None, weights=weights) == preset


@pytest.mark.parametrize(
    ("head", "family"),
    [
        ("IDetect", "yolov7"),
        ("IAuxDetect", "yolov7"),
        ("Detect", "yolov5"),
        ("models.yolo.Detect", "yolov5"),
        ("YOLOXHead", "yolox"),
    ],
)
def test_a_yaml_of_ones_own_is_known_by_its_head(tmp_path, head: str, family: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"nc: 3\nbackbone: [[-1, 1, Conv, [8, 3, 2]]]\nhead:\n- [[0], 1, {head}, [nc, anchors]]\n"
    )
    assert family_of(str(path)) == family
    path.write_text("nc: 3\n")
    assert family_of(str(path)) == "yolov7"


def test_weights_of_any_name_are_known_by_the_head_they_name(tmp_path) -> None:
    def zipped(content: bytes) -> str:
        path = tmp_path / "best.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
        return str(path)

    def safetensors(meta: dict[str, str]) -> str:
        path = tmp_path / "best.safetensors"
        header = json.dumps({"__metadata__": meta}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        return str(path)

    assert default_preset(None, True, weights=zipped(b"cmodels.yolo\nDetect\nq\x00")) == "v5-low"
    assert default_preset(None, True, weights=zipped(b"\x8c\x06Detect\x94\x93")) == "v5-low"
    assert (
        default_preset(None, True, weights=zipped(b"cmodels.yolo\nIDetect\nq\x00Detect"))
        == "v7-custom"
    )
    assert (
        default_preset(None, True, weights=zipped(b"cmodels.yolo\nDetectionModel\n")) == "v7-custom"
    )
    v5 = safetensors({"arch": "head:\n- [[17], 1, Detect, [nc, anchors]]"})
    assert default_preset(None, True, weights=v5) == "v5-low"
    assert default_preset(None, True, weights=str(tmp_path)) == "v5-low"  # a run folder
    named = tmp_path / "yolov7-run"  # what a folder is called says nothing about what is in it
    named.mkdir()
    (tmp_path / "best.safetensors").rename(named / "best.safetensors")
    assert default_preset(None, True, weights=str(named)) == "v5-low"
    (tmp_path / "best.safetensors").write_bytes(b"\xff" * 64)
    assert default_preset(None, True, weights=str(tmp_path)) == "v7-custom"
