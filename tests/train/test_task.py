import torch

from tests.train.parts import make_batch, make_task


def test_methods_are_inside_and_the_teacher_is_outside():
    task, teacher = make_task()
    names = dict(task.named_parameters())
    assert any(name.startswith("methods.fgd.") for name in names)
    inside = {id(p) for p in task.parameters()}
    assert not inside & {id(t) for _, t in teacher.state()}
    assert not any("teacher" in key.split(".")[0] for key in task.state_dict())


def test_weights_scale_the_terms():
    task, teacher = make_task()
    batch = make_batch()
    knowledge = teacher(batch.images)
    task.eval()
    once = task(batch, knowledge).distillation
    task.weights["fgd"] = 3.0
    thrice = task(batch, knowledge).distillation
    assert set(once) == {"fgd/foreground", "fgd/background", "fgd/attention", "fgd/relation"}
    for name, value in once.items():
        assert torch.allclose(3 * value, thrice[name])


def test_without_teacher_the_methods_stay_in_the_graph_with_zero_gradient():
    task, _ = make_task()
    losses = task(make_batch())
    assert float(losses.distillation["off"]) == 0
    sum([*losses.detection.values(), *losses.distillation.values()]).backward()
    grads = [p.grad for p in task.methods.parameters()]
    assert all(g is not None and not g.any() for g in grads)


def test_plain_task_has_no_distillation_terms():
    task, _ = make_task()
    plain = type(task)(task.student, task.criterion)
    assert plain(make_batch()).distillation == {}
