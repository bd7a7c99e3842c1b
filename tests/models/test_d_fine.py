"""D-FINE of transformers as a graph: equal to the library's model, its settings plain data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tutelage.deploy.network import DeployedNetwork, trace
from tutelage.errors import ConfigError, WeightsError
from tutelage.losses.boxes import corners
from tutelage.models import build, cost, load, read_checkpoint
from tutelage.models.d_fine import graph, read_settings

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("scipy", reason="needs SciPy")

from tests.models.tiny_d_fine import configuration, network, write_folder

NAMES = ["a", "b", "c"]


def test_it_equals_the_librarys_model(tmp_path: Path) -> None:
    model = network(freeze_backbone_batch_norms=True).eval()
    model.save_pretrained(tmp_path)
    ours = load(f"hf:{tmp_path}").eval()
    assert (ours.names, ours.strides) == (("a", "b", "c"), (8, 16, 32))
    images = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        theirs, found = model(pixel_values=images), ours(images, ["p3", "p4", "p5"])
    decoded = ours.decode(found.raw, (96, 64))
    scale = torch.tensor([64, 96, 64, 96])
    torch.testing.assert_close(decoded.logits, theirs.logits)
    torch.testing.assert_close(decoded.xyxy, corners(theirs.pred_boxes) * scale)
    for own, other in zip(found.taps, theirs.encoder_last_hidden_state, strict=True):
        torch.testing.assert_close(own, other)
    # The order of queries differs from image to image: nothing may be compared by their place.
    assert decoded.grids is None
    with pytest.raises(ConfigError, match="chooses its candidates from its maps") as error:
        ours.resume(dict(zip(("p3", "p4", "p5"), found.taps, strict=True)))
    assert error.value.code == "T29"


def test_fewer_levels_as_in_the_smallest_published_one() -> None:
    """D-FINE-N has strides 16 and 32."""
    from transformers import HGNetV2Config

    inner = {**configuration().backbone_config.to_dict(), "out_features": ["stage3", "stage4"]}
    inner.pop("out_indices")
    changes = {"encoder_in_channels": [48, 64], "decoder_in_channels": [32, 32]}
    changes |= {"feat_strides": [16, 32], "num_feature_levels": 2, "encode_proj_layers": [1]}
    config = configuration(backbone_config=HGNetV2Config(**inner), **changes)
    detector = build(graph(config), NAMES).eval()
    assert detector.strides == (16, 32)
    assert dict(detector.levels) == {"p4": "11", "p5": "14"}
    assert detector(torch.rand(1, 3, 128, 128)).raw[0].shape[1] == 20


def test_the_number_of_classes_follows_the_data(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path)
    detector = load(f"hf:{tmp_path}", names=["x", "y"]).eval()
    stored = read_checkpoint(f"hf:{tmp_path}").state
    assert detector.decode(detector(torch.rand(1, 3, 64, 64)).raw, (64, 64)).logits.shape[-1] == 2
    own = detector.state_dict()
    new = {key for key in own if own[key].shape != stored[key].shape}
    assert new
    assert all("class_embed" in key or "enc_score_head" in key for key in new)
    assert all(torch.equal(own[key], stored[key]) for key in own.keys() - new)


def test_training_has_the_outputs_of_all_layers() -> None:
    detector = build(graph(configuration()), NAMES).train()
    raw = detector(torch.rand(2, 3, 64, 64)).raw
    bins, box = 4 * 33, 4
    packed = [3 + box + 2 + box + bins] * 3 + [3 + box + 2] * 2
    assert [tuple(x.shape) for x in raw] == [(2, 20, width) for width in packed]
    assert cost(detector, 64).parameters == sum(p.numel() for p in detector.parameters())


def test_settings_name_no_code(tmp_path: Path) -> None:
    """A run's file holds the settings; whoever made it must not choose what is imported."""
    mapping = graph(configuration())
    text = json.dumps(mapping)
    assert "implementation" not in text
    assert "auto_map" not in text
    settings = json.loads(text)["d_fine"]
    settings |= {"attn_implementation": "kernels-of/someone", "auto_map": {"AutoConfig": "a.B"}}
    settings["backbone_config"] |= {"_attn_implementation": "kernels-of/someone"}
    config = read_settings(settings, 3)
    assert config._attn_implementation == "sdpa"
    assert not hasattr(config, "auto_map")
    assert config.num_denoising == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eval_idx": 0}, "eval_idx must be -1"),
        ({"learn_initial_query": True}, "learn_initial_query must be false"),
        ({"decoder_layers": 1}, "decoder_layers must be at least 2"),
        ({"decoder_layers": 101}, "decoder_layers must be at most 100"),
        ({"depth_mult": 1e9}, "depth_mult must be at most 100"),
        ({"d_model": 33}, "must be divisible"),
        ({"encoder_in_channels": [32, 48]}, "out_features has 3 maps"),
    ],
)
def test_what_cannot_be_trained_is_told(changes: dict[str, Any], words: str) -> None:
    mapping = graph(configuration())
    mapping["d_fine"] |= changes
    with pytest.raises(ConfigError, match=words) as error:
        build(mapping, NAMES)
    assert error.value.code == "C28"


def test_a_folder_that_is_no_student_is_told(tmp_path: Path) -> None:
    from transformers import DFineConfig, ResNetConfig, RTDetrConfig

    RTDetrConfig().save_pretrained(tmp_path / "rt")
    with pytest.raises(ConfigError, match=r"is a rt_detr, which cannot be a student.*Students"):
        build(f"hf:{tmp_path / 'rt'}", NAMES)
    resnet = ResNetConfig(out_features=["stage2", "stage3", "stage4"])
    DFineConfig(backbone_config=resnet).save_pretrained(tmp_path / "res")
    with pytest.raises(ConfigError, match="must be a hgnet_v2, got 'resnet'"):
        build(f"hf:{tmp_path / 'res'}", NAMES)
    with pytest.raises(WeightsError, match="does not exist"):
        build(f"hf:{tmp_path / 'none'}", NAMES)
    source = write_folder(tmp_path / "bare")
    with pytest.raises(WeightsError, match=r"has no weights.*--cfg hf:"):
        read_checkpoint(source)
    network().save_pretrained(tmp_path / "bare")
    processor = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "bare" / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(WeightsError, match="trained on normalised images"):
        read_checkpoint(source)


def test_images_need_a_cell_for_each_query() -> None:
    detector = build(graph(configuration(num_queries=100)), NAMES).eval()
    with pytest.raises(ConfigError, match="has 84 cells, fewer than the 100 queries") as error:
        detector(torch.rand(1, 3, 64, 64))
    assert error.value.code == "C17"


def test_a_traced_network_takes_other_sizes() -> None:
    """The library turns sizes into numbers, which torch.export does not always refuse."""
    detector = build(graph(configuration(decoder_layers=2)), NAMES).eval()
    deployed = DeployedNetwork(detector)
    program = trace(deployed).module()
    images = torch.rand(3, 3, 96, 64)
    for expected, found in zip(deployed(images), program(images), strict=True):
        torch.testing.assert_close(found, expected)
