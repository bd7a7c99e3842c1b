"""Memory that runs out: recognised, told with what would fit; ``batch: auto`` finds it before."""

import numpy as np
import pytest
import torch
from accelerate.utils.memory import should_reduce_batch_size

from tests.run.small_runs import interrupted, last, make_data, make_teacher, run, settings, told
from tutelage.config.load import load_config
from tutelage.errors import ConfigError, DataError, TrainingError, is_out_of_memory
from tutelage.run import auto_batch as fitting
from tutelage.run.auto_batch import candidate_batches, fit_batch
from tutelage.run.events import Finished, Planned
from tutelage.run.out_of_memory import (
    DeviceMemory,
    MemoryContext,
    memory_of,
    out_of_memory_error,
    peak_memory,
)
from tutelage.setup.build import build_run
from tutelage.training.schedule import Position
from tutelage.training.task import Task

SAID = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB, other: 1 MB)."),
    "xpu": RuntimeError("XPU out of memory."),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate "
                        "memory: you tried to allocate 9 bytes. Error code 12"),
    "cpu, Windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    "python": MemoryError(),
    "numpy": np._core._exceptions._ArrayMemoryError((9,), np.dtype("u1")),  # type: ignore[attr-defined]
    "worker": RuntimeError("Caught MemoryError in DataLoader worker process 0. Unable to allocate"),
    "opencv": RuntimeError("OpenCV(5.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed"),
    "fork": OSError(12, "Cannot allocate memory"),
}  # fmt: skip


@pytest.mark.parametrize("who", SAID)
def test_it_is_recognised_on_every_device(who):
    assert is_out_of_memory(SAID[who])


@pytest.mark.parametrize("error", [*SAID.values(), RuntimeError("no"), ValueError("size")])
def test_what_accelerate_recognises_is_recognised(error):
    assert is_out_of_memory(error) or not should_reduce_batch_size(error)


def test_other_errors_are_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(DataError("a/out of memory.jpg cannot be read"))


# --- the message -------------------------------------------------------------------------------


def failing(monkeypatch, limit, error=SAID["cpu"], after=0):
    """Let a training step with more than ``limit`` images fail, from call ``after`` on."""
    forward, calls = Task.forward, []

    def limited(self, supervised):
        calls.append(len(supervised.batch.images))
        if calls[-1] > limit and len(calls) > after:
            raise error
        return forward(self, supervised)

    monkeypatch.setattr(Task, "forward", limited)
    return calls


@pytest.mark.parametrize("who", ["cuda", "cpu", "python"])
def test_a_run_says_what_would_fit(tmp_path, monkeypatch, who):
    config = settings(make_data(tmp_path), tmp_path / "runs", train={"nominal_batch": 8})
    failing(monkeypatch, 2, SAID[who])
    with pytest.raises(TrainingError) as caught:
        run(config)
    error = caught.value
    assert (error.code, error.__cause__) == ("R13", SAID[who])
    assert error.what.startswith("The machine ran out of memory at step 1 with batch 4")
    assert "GiB; student " in error.what
    assert "--batch-size 2 (gradients still accumulate to 8)" in error.fix
    assert "The run folder is intact." in error.fix


def test_in_the_midst_of_a_run_it_tells_the_step_and_the_last_save_stays(tmp_path, monkeypatch):
    config = settings(make_data(tmp_path), tmp_path / "runs", train={"epochs": 2})
    failing(monkeypatch, 2, after=3)
    with pytest.raises(TrainingError, match="at step 2 of epoch 2 with batch 4"):
        run(config)
    [folder] = (tmp_path / "runs").iterdir()
    assert (folder / "last.pt").exists()
    monkeypatch.undo()
    resumed = load_config(config_file=folder / "config.yaml").config
    assert last(run(resumed, resume=str(folder)), Finished)


def test_a_batch_of_one_cannot_be_halved(tmp_path):
    config = settings(make_data(tmp_path), tmp_path / "runs", train={"batch": 2})
    use = MemoryContext(config)
    use.parts, use.position = build_run(config), Position(0, 2)
    assert "at step 3 with batch 2" in out_of_memory_error(use).what
    use.position = Position(0, 4)
    assert "in the evaluation after epoch 1" in out_of_memory_error(use).what
    assert "--batch-size 1 " in out_of_memory_error(use).fix
    one = config.model_copy(update={"train": config.train.model_copy(update={"batch": 1})})
    use.config = one
    assert "--batch-size" not in out_of_memory_error(use).fix
    assert "--img-size below 64" in out_of_memory_error(use).fix


# --- batch: auto -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nominal", "processes", "images", "found"),
    [
        (64, 1, 5000, [1, 2, 4, 8, 16, 32, 64]),
        (64, 4, 5000, [4, 8, 16, 32, 64]),
        (48, 1, 5000, [1, 2, 3, 4, 6, 8, 12, 16, 24, 48]),
        (16, 1, 6, [1, 2, 4]),
        (16, 3, 100, [3]),
    ],
)
def test_only_parts_of_the_nominal_batch_are_tried(nominal, processes, images, found):
    assert candidate_batches(nominal, processes, images) == found


def automatic(tmp_path, **changes):
    train = {"batch": "auto", "nominal_batch": 8, "image_size": 64} | changes
    return settings(make_data(tmp_path), tmp_path / "runs", train=train)


def test_the_largest_that_fits_is_found_by_steps_and_stored(tmp_path, monkeypatch):
    calls = failing(monkeypatch, 4)
    events = run(automatic(tmp_path))
    assert calls[:8] == [1, 1, 2, 2, 4, 4, 8, 4]
    folder = last(events, Planned).folder
    assert "batch auto: 4 images per step (8 do not fit); gradients accumulate to 8" in told(events)
    assert any(
        "batch 4 × accumulate 2 (nominal 8)" in text for _, text in last(events, Planned).rows
    )
    stored = load_config(config_file=f"{folder}/config.yaml")
    assert stored.config.train.batch == 4


def test_the_run_is_that_of_the_same_number_given(tmp_path, monkeypatch):
    failing(monkeypatch, 4)
    data, weights = automatic(tmp_path), []
    fixed = data.model_copy(update={"train": data.train.model_copy(update={"batch": 4})})
    for config in (data, fixed):
        folder = last(run(config), Planned).folder
        weights.append(torch.load(f"{folder}/last.pt", weights_only=True)["task"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_everything_fits_up_to_the_nominal_batch(tmp_path):
    fitted = fit_batch(automatic(tmp_path), {"train.batch": "flag --batch-size"})
    assert (fitted.config.train.batch, fitted.origins["train.batch"]) == (
        8,
        "flag --batch-size: auto",
    )
    assert "more would change the nominal batch" in fitted.notices[0]
    again = fit_batch(fitted.config)
    assert (again.config, again.notices) == (fitted.config, ())


def test_the_teacher_and_the_methods_take_part(tmp_path, monkeypatch):
    seen = []
    forward = Task.forward

    def spy(self, supervised):
        taught = supervised.knowledge is not None
        seen.append((len(supervised.batch.images), taught, tuple(self.methods)))
        return forward(self, supervised)

    monkeypatch.setattr(Task, "forward", spy)
    config = automatic(tmp_path, nominal_batch=4)
    distill = {"teacher": make_teacher(tmp_path / "t.safetensors"), "accept_teacher": True,
               "methods": [{"name": "cwd"}]}  # fmt: skip
    values = config.model_dump(mode="json")
    fit_batch(type(config).model_validate(values | {"distill": values["distill"] | distill}))
    assert seen == [(count, True, ("cwd",)) for count in (1, 1, 2, 2, 4, 4)]


def test_the_largest_size_of_multi_scale_is_tried(tmp_path, monkeypatch):
    sides = []
    forward = Task.forward

    def spy(self, supervised):
        sides.append(max(supervised.batch.image_size))
        return forward(self, supervised)

    monkeypatch.setattr(Task, "forward", spy)
    fit_batch(automatic(tmp_path, nominal_batch=2, multi_scale=True))
    assert set(sides) == {96}


def test_a_batch_that_batchnorm_cannot_train_is_not_tried(tmp_path, monkeypatch):
    calls = failing(monkeypatch, 2)
    assert fit_batch(automatic(tmp_path, image_size=32)).config.train.batch == 2
    assert calls == [2, 2, 4]  # one image of 32 px has one value per channel


def test_nothing_fits(tmp_path, monkeypatch):
    failing(monkeypatch, 0)
    with pytest.raises(TrainingError, match="Not even the smallest batch fits") as caught:
        run(automatic(tmp_path))
    assert caught.value.code == "R13"
    assert not (tmp_path / "runs").exists()


def test_other_errors_are_not_taken_for_a_full_device(tmp_path, monkeypatch):
    failing(monkeypatch, 2, ValueError("boom"))
    with pytest.raises(ValueError, match="boom"):
        fit_batch(automatic(tmp_path))


def test_on_the_cpu_it_stops_before_the_system_would_kill_it(tmp_path, monkeypatch):
    """Main memory grows by 100 MB an image; there are 500 MB."""
    base, top = 10**9, [10**9]
    steps = fitting.run_steps

    def growing(parts, count):
        steps(parts, count)
        top[0] = base + count * 10**8

    monkeypatch.setattr(fitting, "run_steps", growing)
    monkeypatch.setattr(fitting, "peak_memory", lambda: top[0])
    monkeypatch.setattr(fitting, "current_memory", lambda: base)
    monkeypatch.setattr(fitting, "memory_of", lambda device: DeviceMemory(10**9, 10**9 + 5 * 10**8))
    assert fit_batch(automatic(tmp_path)).config.train.batch == 4
    assert top[0] == base + 4 * 10**8  # 8 was never tried


def test_room_is_what_the_machine_says():
    used, total = memory_of(torch.device("cpu"))
    assert 0 < used < total
    assert 0 < peak_memory() <= total


def test_a_container_has_less(tmp_path, monkeypatch):
    from tutelage.run import out_of_memory as memory

    (tmp_path / "memory.max").write_text(str(10**8))
    (tmp_path / "memory.current").write_text(str(9 * 10**7))
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 1000000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory_of(torch.device("cpu")) == (9 * 10**7 - 10**6, 10**8)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_of(torch.device("cpu")).total > 10**8


def test_a_comparison_needs_a_number(tmp_path):
    from tutelage.comparison.arms import plan_comparison

    with pytest.raises(ConfigError, match="all arms need the same batch"):
        plan_comparison(automatic(tmp_path))


def test_elsewhere_a_number_is_needed(tmp_path):
    with pytest.raises(ConfigError, match="is found by tutelage train"):
        build_run(automatic(tmp_path))


def test_resume_keeps_what_was_found(tmp_path, monkeypatch):
    from tutelage.api.settings import resolve

    config = automatic(tmp_path, epochs=2)
    fitted = fit_batch(config).config
    folder = interrupted(fitted, epoch=1, step=1)
    resolved, _ = resolve({"resume": folder, "batch_size": "auto"}, {})
    assert resolved.config.train.batch == fitted.train.batch
