"""From settings to parts: threads, workers, the student and what it starts from."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.run.small_runs import CHECKPOINT, make_data, make_teacher, settings
from tests.setup.small_tasks import storages
from tutelage.config.schema import Config, TrainConfig
from tutelage.errors import ConfigError, WeightsError
from tutelage.models.build import build, load
from tutelage.run.checkpoint import best_metadata
from tutelage.setup import build as module
from tutelage.setup import cpu_threads as cores
from tutelage.setup.build import build_run
from tutelage.setup.distributed import check_batch, synchronise
from tutelage.setup.student import make_student
from tutelage.weights.store import load_header, save_best

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def threads(monkeypatch):
    """Threads and cores that exist on paper only."""
    now = {"threads": 1}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: now.update(threads=n))
    monkeypatch.setattr(torch, "get_num_threads", lambda: now["threads"])
    monkeypatch.setattr(cores, "free_cores", lambda: 8)
    return now


@pytest.mark.parametrize(
    ("matrix_unit", "size", "processes", "began", "expected"),
    [
        (True, 1_000_000, 1, None, True),
        (True, 999_999, 1, None, False),  # a small network gains nothing
        (False, 1_000_000, 1, None, False),
        (True, 1_000_000, 2, None, False),
        (True, 1_000_000, 1, "fp32", False),  # a resumed run stays as it was
        (False, 10, 1, "bf16", True),
    ],
)
def test_large_students_train_in_bfloat16_where_the_processor_multiplies_it(
    monkeypatch, matrix_unit, size, processes, began, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": matrix_unit})
    student = nn.Linear(size, 1, bias=False)
    accelerator = SimpleNamespace(device=CPU, num_processes=processes)
    assert module.trains_in_bfloat16(accelerator, student, began) is expected
    accelerator.device = CUDA
    assert not module.trains_in_bfloat16(accelerator, student, began)


class Clocked(nn.Module):
    """A network whose forward pass takes as long as a table says."""

    def __init__(self, seconds, clock, sizes):
        super().__init__()
        self.seconds, self.clock, self.sizes = seconds, clock, sizes

    def __deepcopy__(self, memo):
        return self

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        self.clock[0] += self.seconds[torch.get_num_threads()]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({1: 4.0, 4: 1.0, 8: 0.5}, 8),
        ({1: 4.0, 4: 1.0, 8: 0.95}, 4),  # not worth it
        ({1: 1.0, 4: 2.0, 8: 10.0}, 1),  # the cores are busy
    ],
)
def test_threads_are_found_by_trying(threads, monkeypatch, seconds, chosen):
    clock, sizes = [0.0], []
    monkeypatch.setattr(cores.time, "perf_counter", lambda: clock[0])
    before = threads["threads"]
    assert cores.choose_threads("auto", Clocked(seconds, clock, sizes), 640, 16) == chosen
    assert threads["threads"] == before  # only measured
    assert set(sizes) == {(2, 3, 640, 640)}  # enough to tell, not the whole batch


def test_threads_that_are_given(threads, monkeypatch):
    assert cores.choose_threads(3, nn.Identity(), 64, 1) == 3
    threads["threads"] = 5
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert cores.choose_threads("auto", nn.Identity(), 64, 1) == 5


@pytest.mark.parametrize(
    ("setting", "device", "threads_used", "workers"),
    [("auto", CPU, 6, 2), ("auto", CPU, 8, 2), ("auto", CUDA, 8, 8), (0, CPU, 1, 0)],
)
def test_workers_fit_the_cores(threads, setting, device, threads_used, workers):
    threads["threads"] = threads_used
    assert cores.choose_workers(setting, device) == workers


def test_the_student_repeats_with_its_seed():
    states = [make_student(Config(train={"seed": s}), ("a",))[0].state_dict() for s in (1, 1, 2)]
    key = "model.0.conv.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])


@pytest.mark.parametrize("setting", ["model.weights", "distill.teacher"])
def test_a_file_that_is_not_there_is_told_with_its_setting(setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section, key = setting.split(".")
    config = settings(make_data(tmp_path / "data"), tmp_path, **{section: {key: "nope.pt"}})
    make_teacher(tmp_path / "mine.safetensors")
    with pytest.raises(WeightsError) as caught:
        build_run(config, {setting: "flag --x"})
    assert caught.value.what == "nope.pt does not exist."
    assert caught.value.where == f"{setting}, flag --x"
    assert caught.value.fix == "Beside it: mine.safetensors"
    with pytest.raises(WeightsError, match=rf"\({setting}\)"):
        build_run(config)


def test_an_architecture_with_weights_keeps_its_own_anchors(tmp_path):
    path = make_teacher(tmp_path / "w.safetensors", arch="yolov7-tiny@0.25")
    trained = load(path)
    trained.load_training_state({"anchors": (trained.head.anchor_sizes * 1.25).tolist()})
    save_best(path, trained.state_dict(), load_header(path))
    alone, words = make_student(Config(model={"weights": path}), ("cat", "dog"))
    assert torch.equal(alone.head.anchor_sizes, trained.head.anchor_sizes)
    assert words.endswith("tensors")  # the head fits too
    both, words = make_student(Config(model={"weights": path, "arch": "yolov7-tiny@0.25"}), ("x",))
    assert "head is new: 2 → 1 classes" in words
    assert torch.equal(both.head.anchor_sizes, build("yolov7-tiny@0.25", ["x"]).head.anchor_sizes)


@pytest.mark.parametrize(
    ("arch", "setting", "assigner"),
    [
        ("yolov7-tiny@0.125", "auto", "ota"),
        ("yolov5n", "auto", "anchor"),
        ("yolov5n", "ota", "ota"),
        ("yolov7-tiny@0.125", "anchor", "anchor"),
    ],
)
def test_who_assigns(arch, setting, assigner):
    config = Config(loss={"assigner": setting})
    assert build(arch, ["a"]).head.criterion(config.loss, image_size=64).assigner == assigner


@pytest.mark.parametrize(
    ("changes", "images", "size"),
    [
        ({"batch": 1}, 8, 64),
        ({"batch": 4}, 9, 64),  # one image is left over
        ({"batch": 1, "image_size": 64, "multi_scale": True}, 8, 128),
    ],
)
def test_batchnorm_needs_two_values(changes, images, size):
    train = TrainConfig.model_validate({"image_size": 32} | changes)
    with pytest.raises(ConfigError, match=f"A batch of 1 image of 32 px .*--img-size {size} "):
        check_batch(train, 32, images)
    check_batch(train.model_copy(update={"image_size": size}), 32, images)
    check_batch(train.model_copy(update={"batch": 2}), 32, 8)


def test_every_process_needs_an_image():
    train = TrainConfig(batch=2, image_size=64)
    check_batch(train, 32, 8, processes=2)
    with pytest.raises(ConfigError, match=r"A batch of 2 over 3 processes .*--batch-size 3 "):
        check_batch(train, 32, 8, processes=3)
    with pytest.raises(ConfigError, match=r"px for each of 2 processes has .*above 2 "):
        check_batch(train.model_copy(update={"image_size": 32}), 32, 8, processes=2)


def test_everything_trains_but_the_teacher(tmp_path):
    config = settings(
        make_data(tmp_path / "d"),
        tmp_path,
        distill={"teacher": str(CHECKPOINT), "accept_teacher": True},
    )
    parts = build_run(config)
    trained = storages(p for group in parts.optimizer.param_groups for p in group["params"])
    assert trained == storages(parts.unwrapped_task.parameters())
    teacher = storages(tensor for _, tensor in parts.distillation.teachers.state())
    assert teacher
    assert not teacher & storages(
        (*parts.unwrapped_task.parameters(), *parts.unwrapped_task.buffers())
    )
    assert not teacher & storages(parts.ema.state_dict().values())
    averaged = set(parts.ema.module.state_dict())
    assert averaged == set(parts.student.state_dict())
    weight = parts.student.model[0].conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_the_image_must_fit_the_teacher_too(tmp_path, monkeypatch):
    config = settings(
        make_data(tmp_path / "d"),
        tmp_path,
        train={"image_size": 96},
        distill={"teacher": str(CHECKPOINT)},
    )
    load = module.load_teachers

    def coarse(*args, **options):
        teachers = load(*args, **options)
        teachers[0].stride = 64
        return teachers

    monkeypatch.setattr(module, "load_teachers", coarse)
    with pytest.raises(ConfigError, match="--img-size 96 must be a multiple of 64"):
        build_run(config)


def test_batchnorm_of_all_gpus():
    student = build("yolov7-tiny@0.125", ["a"])
    keys, parameters = list(student.state_dict()), list(map(id, student.parameters()))
    synchronise(student, "cpu", 1)
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in student.modules())
    with pytest.raises(ConfigError, match="needs GPUs"):
        synchronise(student, "cpu", 2)
    images = torch.rand(1, 3, 64, 64)
    before = student.eval()(images)[0]
    synchronise(student, "cuda", 2)
    assert any(isinstance(m, nn.SyncBatchNorm) for m in student.modules())
    assert (list(student.state_dict()), list(map(id, student.parameters()))) == (keys, parameters)
    for same in (student, student.fused()):
        torch.testing.assert_close(same.eval()(images)[0], before, atol=1e-3, rtol=1e-3)


def test_the_range_of_values_reaches_images_and_weights_and_is_asked_for(tmp_path):
    data = Path(make_data(tmp_path / "set"))
    for path in data.parent.rglob("*.*"):
        if path.suffix in (".png", ".jpg"):
            cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)).astype(np.uint16) * 16)
            if path.suffix == ".jpg":
                path.unlink()
    plain = build_run(settings(str(data), tmp_path), keep_threads=True)
    assert [each.code for each in plain.train.findings] == ["image-dark"]
    assert "--set train.image_range=0,4095" in plain.train.findings[0].message
    given = settings(str(data), tmp_path, train={"image_range": (0, 4095)})
    parts = build_run(given, keep_threads=True)
    assert parts.train.findings == parts.val.findings == ()
    assert parts.train.image_range == parts.val.image_range == (0, 4095)
    assert best_metadata(parts, {})["image_range"] == (0, 4095)
