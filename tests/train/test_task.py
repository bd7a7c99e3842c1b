import torch

from tests.train.parts import make_batch, make_task
from tutelage.distill.match import NOTHING, matched
from tutelage.structures import Predictions


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


def test_detections_of_another_head_go_where_the_loss_would_assign_drawn_boxes():
    task, _ = make_task()
    task.needs_predictions = True
    batch = make_batch()
    out = task.student(batch.images)
    student = task.knowledge(out, (64, 64))
    images, targets = len(batch.images), batch.targets
    classes = len(task.student.names)
    xyxy = targets.xyxy.expand(images, -1, -1)
    own = torch.arange(images)[:, None] == targets.image
    hot = torch.nn.functional.one_hot(targets.label, classes) * own[..., None]
    seen = Predictions(xyxy, (0.9 * hot).logit(1e-6), None, torch.zeros(len(targets.label)))
    found = matched(student.predictions, seen, student.answers)
    kept = found.objectness > NOTHING
    assert torch.equal(kept, task.criterion.answers(out.raw, targets) >= 0)
    assert kept.any()
