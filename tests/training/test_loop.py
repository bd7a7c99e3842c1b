from itertools import islice, pairwise

import pytest
import torch

from tests.setup.small_tasks import make_batch, make_task
from tests.training.runs import make_run
from tutelage.config.schema import OptimConfig
from tutelage.structures import Batch, Targets
from tutelage.teachers import fingerprint
from tutelage.training.loop import BatchDone, EpochEnded, fit, multi_scale
from tutelage.training.optimizer import make_optimizer
from tutelage.training.schedule import Position, Schedule, WeightSchedule
from tutelage.training.supervision import SupervisedBatch


def test_three_steps_change_student_and_connectors_but_not_the_teacher():
    run = make_run(Schedule(epochs=2, steps=4, batch=2, nominal_batch=2))
    task, teacher = run[1], run[2].teachers
    before = {n: p.detach().clone() for n, p in task.named_parameters()}
    held = fingerprint(teacher.state())
    events = list(islice(fit(*run), 3))
    assert [(e.epoch, e.batch) for e in events] == [(0, 1), (0, 2), (0, 3)]
    still = {n for n, p in task.named_parameters() if torch.equal(p, before[n])}
    own = {n for n in still if n.startswith("methods.")}
    assert not any("connectors" in n for n in own)
    assert not still - own
    assert fingerprint(teacher.state()) == held


def test_every_batch_moves_batchnorm_once():
    run = make_run(Schedule(epochs=1, steps=4, batch=2))
    list(fit(*run))
    assert int(run[1].student.model[0].bn.num_batches_tracked) == 4


def test_events_of_a_run():
    run = make_run(Schedule(epochs=2, steps=4, batch=2))
    events = list(fit(*run))
    assert [type(e) for e in events] == ([BatchDone] * 4 + [EpochEnded]) * 2
    assert not any(
        v.requires_grad
        for e in events
        if isinstance(e, BatchDone)
        for g in e.losses
        for v in g.values()
    )


def test_accumulation_steps_every_other_batch():
    run = make_run(Schedule(epochs=1, steps=4, batch=2, nominal_batch=4))
    weight = run[1].student.model[0].conv.weight
    seen = [weight.detach().clone()]
    for event in fit(*run):
        if isinstance(event, BatchDone):
            seen.append(weight.detach().clone())
    moved = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert moved == [False, True, False, True]


def test_kd_stops_and_the_teacher_rests():
    run = list(
        make_run(
            Schedule(
                epochs=2, steps=4, batch=2, weight_schedules={"fgd": WeightSchedule(stop_epoch=1)}
            )
        )
    )
    calls, inner, teachers = [], run[2], run[2].teachers
    inner.teachers = lambda batch, wanted: calls.append(1) or teachers(batch, wanted)
    terms = [set(e.losses.distillation) for e in fit(*run) if isinstance(e, BatchDone)]
    assert len(calls) == 4
    assert terms[4:] == [set()] * 4


def test_the_run_repeats_bit_for_bit():
    states = []
    for _ in range(2):
        run = make_run(Schedule(epochs=1, steps=4, batch=2, seed=3))
        list(fit(*run))
        states.append(fingerprint(run[1].state_dict().items()))
    assert states[0] == states[1]


def test_a_run_continues_within_an_epoch():
    schedule = Schedule(epochs=1, steps=4, batch=2, nominal_batch=4)
    whole = make_run(schedule)
    list(fit(*whole))
    parts = make_run(schedule)
    list(islice(fit(*parts), 2))
    list(fit(*parts, at=Position(0, 2)))
    assert fingerprint(whole[1].state_dict().items()) == fingerprint(parts[1].state_dict().items())


def test_multi_scale_changes_the_size_from_step_to_step():
    resize, batch = multi_scale(64, 32, seed=1), make_batch()
    sizes = {resize(batch, step).images.shape[-2:] for step in range(20)}
    assert sizes == {(32, 32), (64, 64), (96, 96)}


@pytest.mark.parametrize("step", range(6))
def test_multi_scale_keeps_boxes_on_their_objects(step):
    box = torch.tensor([[16.0, 32.0, 48.0, 64.0]])
    image = torch.zeros(1, 3, 128, 192)
    image[..., 32:64, 16:48] = 1
    one = torch.zeros(1, dtype=torch.int64)
    batch = Batch(image, Targets(one, one, box), one)
    resized = multi_scale(192, 32, seed=1)(batch, step)
    h, w = resized.images.shape[-2:]
    assert h % 32 == w % 32 == 0
    assert 96 <= max(h, w) <= 288
    x1, y1, x2, y2 = resized.targets.xyxy[0].round().int().tolist()
    inside = resized.images[0, 0, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1]
    assert float(inside.mean()) > 0.9
    assert resized.images[0, 0].sum() == pytest.approx(float((x2 - x1) * (y2 - y1)), rel=0.25)


def test_an_accumulated_step_is_the_sum_of_its_batches():
    run = make_run(Schedule(epochs=1, steps=4, batch=2, nominal_batch=4))
    list(islice(fit(*run), 2))
    task, teacher = make_task()
    optimizer = make_optimizer(task, OptimConfig(lr=0.01))
    task.train()
    for seed in range(2):
        batch = make_batch(seed=seed)
        losses = task(SupervisedBatch(batch, teacher(batch)))
        (2 * sum(value for group in losses for value in group.values())).backward()
    torch.nn.utils.clip_grad_norm_(task.parameters(), 10.0)
    optimizer.step()
    for (name, mine), other in zip(task.named_parameters(), run[1].parameters(), strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-5, atol=1e-7, msg=name)


def test_the_last_window_of_an_epoch_counts_though_it_is_short():
    run = make_run(Schedule(epochs=1, steps=4, batch=2, nominal_batch=6))
    weight, ema = run[1].student.model[0].conv.weight, run[4]
    seen = [weight.detach().clone()]
    for event in fit(*run):
        if isinstance(event, BatchDone):
            seen.append(weight.detach().clone())
    assert [not torch.equal(a, b) for a, b in pairwise(seen)] == [False, False, True, True]
    assert int(ema.n_averaged) == 2  # once per step of the optimizer


@pytest.mark.parametrize("methods", [True, False])
def test_gradients_are_clipped_with_and_without_a_teacher(methods):
    moved = []
    for limit in (0.0, 1e-4):  # 0: off
        run = list(make_run(Schedule(epochs=1, steps=4, batch=2, nominal_batch=2, max_norm=limit)))
        run[2] = run[2] if methods else None
        weight = run[1].student.model[0].conv.weight
        before = weight.detach().clone()
        next(fit(*run))
        moved.append(float((weight.detach() - before).norm()))
    assert moved[0] > 5 * moved[1] > 0


def test_the_teacher_rests_between_the_steps_that_it_teaches():
    run = make_run(Schedule(epochs=2, steps=4, batch=2, nominal_batch=2, every=3))
    calls, inner, teachers = [], run[2], run[2].teachers
    inner.teachers = lambda batch, wanted: calls.append(1) or teachers(batch, wanted)
    taught = [bool(e.losses.distillation) for e in fit(*run) if isinstance(e, BatchDone)]
    assert taught == [step in (0, 3, 6) for step in range(8)]  # counted on over epochs
    assert len(calls) == 3
