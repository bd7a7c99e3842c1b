import json

import pytest
import torch
import transformers as hf

from tests.teachers.library_networks import hugging_face_detector
from tutelage.errors import ConfigError, WeightsError
from tutelage.evaluation.nms import nms
from tutelage.teachers import fingerprint, load_teacher

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["rt_detr", "rt_detr_v2", "d_fine", "detr"])
def test_a_folder_gives_what_the_library_finds(family, tmp_path):
    model = hugging_face_detector(family).eval()
    model.save_pretrained(tmp_path)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    processor = {"do_rescale": True, "do_normalize": True, "image_mean": mean, "image_std": std}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    teacher = load_teacher(f"hf:{tmp_path}", CPU)
    assert teacher.title == family
    assert teacher.names == ("a", "b", "c")
    assert fingerprint(teacher.state()) == fingerprint(model.state_dict().items())
    assert teacher.record["source"] == f"hf:{tmp_path}"

    images = torch.rand(2, 3, 128, 192)
    scale = [torch.tensor(x).view(3, 1, 1) for x in (mean, std)]
    with torch.no_grad():
        out = model(pixel_values=(images - scale[0]) / scale[1])
    knowledge = teacher(images, predictions=True)
    found = knowledge.predictions
    assert found is not None
    kind = hf.DetrImageProcessor if family == "detr" else hf.RTDetrImageProcessor
    expected = kind().post_process_object_detection(out, 0.0, target_sizes=[(128, 192)] * 2)
    for own, other in zip(nms(found, conf=0, iou=1, multi_label=True), expected, strict=True):
        best = other["scores"].max()
        assert own.score[0].item() == pytest.approx(best.item(), abs=1e-5)
        box = other["boxes"][other["scores"].argmax()]
        assert torch.allclose(own.xyxy[0], box, atol=1e-2)
    encoded = out.encoder_last_hidden_state
    if family == "detr":
        assert torch.allclose(knowledge.features[0].flatten(2).mT, encoded, atol=1e-5)
    else:
        for feature, level in zip(knowledge.features, encoded, strict=True):
            assert torch.allclose(feature, level, atol=1e-5)


def test_an_id_is_looked_up_in_the_local_cache(tmp_path, monkeypatch):
    """As ``hf download`` leaves it: snapshots by commit, and the branch that points at one."""
    commit, cache = "0" * 40, tmp_path / "models--me--small-detr"
    model = hugging_face_detector("rt_detr")
    model.save_pretrained(cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    teacher = load_teacher("hf:me/small-detr", CPU)
    assert teacher.record["source"] == "hf:me/small-detr"
    assert fingerprint(teacher.state()) == fingerprint(model.state_dict().items())
    with pytest.raises(WeightsError, match="hf:me/other"):
        load_teacher("hf:me/other", CPU)


def test_the_decoder_runs_only_for_predictions(tmp_path):
    hugging_face_detector("rt_detr").save_pretrained(tmp_path)
    teacher = load_teacher(f"hf:{tmp_path}", CPU)
    ran = []
    teacher.network.model.decoder.register_forward_pre_hook(lambda *_: ran.append(1))
    teacher(torch.rand(1, 3, 64, 64))
    assert not ran
    teacher(torch.rand(1, 3, 64, 64), predictions=True)
    assert ran


@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        (None, 0, 1),
        ({"do_normalize": False}, 0, 1),
        ({"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}, 0.5, 0.25),
        ({"do_normalize": False, "do_rescale": False}, 0, 1 / 255),
        ({"do_normalize": False, "rescale_factor": 2 / 255}, 0, 0.5),
    ],
)
def test_normalisation_is_that_of_the_image_processor(processor, mean, std, tmp_path):
    model = hugging_face_detector("rt_detr")
    model.config.anchor_image_size = [640, 640]  # tables for one size must not be used
    model.save_pretrained(tmp_path)
    if processor:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    teacher = load_teacher(f"hf:{tmp_path}", CPU)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = model.eval().model.encoder
        features = model.model.backbone((images - mean) / std, torch.ones(1, 64, 96))
        projected = [
            layer(source)
            for layer, (source, _) in zip(model.model.encoder_input_proj, features, strict=True)
        ]
        maps = expected(projected).last_hidden_state
    assert torch.allclose(teacher(images).features[0], maps[0], atol=1e-4)
    teacher(images, predictions=True)


def test_what_is_no_detector_of_ours_is_told(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no config.json"):
        load_teacher(f"hf:{tmp_path}", CPU)
    model = hugging_face_detector("detr")
    model.save_pretrained(tmp_path)
    state = {k: v for k, v in model.state_dict().items() if "class_labels" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(WeightsError, match="no trained detector: it has no class_labels_classif"):
        load_teacher(f"hf:{tmp_path}", CPU)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "yolos"}))
    with pytest.raises(ConfigError, match=r"is a yolos.*Known: rt_detr"):
        load_teacher(f"hf:{tmp_path}", CPU)
