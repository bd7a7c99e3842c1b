"""How the teachers of a run are run: the choice, its bound, and that a resumed run keeps it."""

from types import SimpleNamespace

import pytest

from tests.run.small_runs import last, make_data, make_teacher, run, settings, told
from tutelage.config.schema import AugmentConfig
from tutelage.data import open_splits, training_loader
from tutelage.data.digit_scenes import SceneSettings
from tutelage.data.digits import build
from tutelage.demo import HEAD_INPUTS, shipped_teacher
from tutelage.errors import TeacherError
from tutelage.models.build import load
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.events import Finished, Notice, Planned
from tutelage.run.preflight import teacher_runtime as module
from tutelage.run.preflight.teacher_runtime import (
    LIMIT,
    RuntimeDifference,
    RuntimeReading,
    choose_runtimes,
    difference,
    fastest,
    images_per_graph,
    measure,
)
from tutelage.teachers import NativeTeacher
from tutelage.teachers.runtimes import make_forward


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Return training batches of digit scenes."""
    small = SceneSettings(size=128, train=8, val=2, test=2, digits=(2, 4), height=(16.0, 40.0))
    data = build(tmp_path_factory.mktemp("digits"), scenes=small)
    index, _ = open_splits(str(data), "train", "val")
    plain = AugmentConfig(mosaic=0, fliplr=0)
    loader = training_loader(
        index, image_size=128, batch=4, augment=plain, seed=0, workers=0, cache=False, cache_gib=1
    )
    loader.batch_sampler.set_epoch(0)
    return [batch.floating().images for batch in loader]


@pytest.fixture(scope="module")
def teacher():
    return NativeTeacher(load(shipped_teacher()), HEAD_INPUTS)


def reading(seconds, scores=0.0):
    return RuntimeReading(seconds, RuntimeDifference(scores, scores))


@pytest.mark.parametrize(
    ("other", "chosen"),
    [(reading(0.5), "other"), (reading(0.95), "torch"), (reading(0.5, 1.1 * LIMIT), "torch")],
)
def test_the_fastest_of_those_within_the_limit(other, chosen):
    assert fastest({"torch": reading(1.0), "other": other}) == chosen


def test_the_demo_teacher_by_openvino_is_within_the_limit(teacher, scenes):
    pytest.importorskip("openvino")
    other = teacher.reference()
    other.run_by("openvino", make_forward("openvino", teacher.network, batch=4))
    found = difference(other, scenes)
    assert 0 < found.scores <= LIMIT
    assert found.features < 1e-4


def test_every_way_is_compared_with_float32(teacher, scenes):
    ways = {n: make_forward(n, teacher.network, batch=4) for n in ("torch", "bf16")}
    readings = measure(teacher, ways, scenes)
    assert readings["torch"].difference == (0, 0)
    assert 1e-3 < readings["bf16"].difference.scores < 0.1  # of sigmoids: logits differ by more
    assert all(reading.seconds > 0 for reading in readings.values())
    assert teacher.runtime == "torch"


def test_a_runtime_that_fails_is_no_candidate(teacher, scenes):
    def fails(images, taps, *, head):
        raise RuntimeError("could not create a primitive")

    assert set(measure(teacher, {"torch": teacher.network, "bf16": fails}, scenes)) == {"torch"}
    with pytest.raises(TeacherError, match="cannot be run by bf16: RuntimeError: could not create"):
        module._use(teacher.reference(), "bf16", fails, scenes[0])


@pytest.mark.parametrize(
    ("batch", "images", "extra", "processes", "each"),
    [
        (8, 99, 0, 1, 8),
        (64, 99, 0, 1, 16),
        (16, 99, 8, 1, 12),
        (64, 20, 0, 1, 10),
        (16, 99, 0, 2, 8),
    ],
)
def test_images_per_graph(batch, images, extra, processes, each):
    parts = SimpleNamespace(
        config=settings("d", "p", train={"batch": batch}, distill={"images_ratio": 0.5}),
        accelerator=SimpleNamespace(num_processes=processes),
        train=range(images),
        unlabelled=range(9) if extra else None,
    )
    assert images_per_graph(parts) == each


def test_a_resumed_run_keeps_what_was_measured(scenes, monkeypatch):
    own = NativeTeacher(load(shipped_teacher()), HEAD_INPUTS)
    parts = SimpleNamespace(
        config=settings("d", "p", distill={"teacher_runtime": "auto"}),
        accelerator=SimpleNamespace(num_processes=1),
        distillation=SimpleNamespace(teachers=SimpleNamespace(teachers=(own,))),
        train=range(8),
        unlabelled=None,
    )
    batch = SimpleNamespace(floating=lambda: SimpleNamespace(images=scenes[0]))
    monkeypatch.setattr(module, "measure", lambda *_, **__: pytest.fail("measured again"))
    events = list(choose_runtimes(parts, [batch], ["bf16"]))
    assert own.runtime == "bf16"
    assert not any(isinstance(event, Notice) for event in events)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["bf16", "auto"])
def test_a_run_tells_and_stores_its_runtime(tmp_path, monkeypatch, runtime):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setattr(module, "has_bfloat16", lambda: True)
    monkeypatch.setattr("tutelage.setup.teacher_runtime.has_bfloat16", lambda: True)
    monkeypatch.setattr(module, "fastest", lambda readings: list(readings)[-1])
    given = {
        "teacher": make_teacher(tmp_path / "teacher.safetensors"),
        "accept_teacher": True,
        "teacher_runtime": runtime,
        "methods": [{"name": "bckd", "weight": 1.0}],
    }
    events = run(settings(make_data(tmp_path / "data"), tmp_path, distill=given))
    text = {"bf16": "by bf16: its scores differ", "auto": "teacher_runtime auto: bf16 (for 4"}
    assert text[runtime] in told(events)
    assert dict(last(events, Planned).rows)["teacher"].endswith(" · run by bf16")
    folder = last(events, Finished).folder
    assert load_checkpoint(f"{folder}/last.pt").progress.runtimes == ["bf16"]


def test_what_differs_too_much_is_a_warning(teacher):
    found = module._describe_difference(teacher, "bf16", RuntimeDifference(0.03, 0.01))
    assert found == Notice("warning", found.text, "T47")
    assert "by up to 0.0300, its features by 1 %" in found.text
    assert module._describe_difference(teacher, "bf16", RuntimeDifference(0.01, 0.0)).code == ""
