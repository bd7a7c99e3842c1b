import torch

from tests.setup.small_tasks import make_batch, make_task, storages
from tutelage.distill import View, response
from tutelage.distill.candidate_matching import BACKGROUND_LOGIT, match_candidates
from tutelage.models import GraphDetector
from tutelage.structures import Knowledge, Predictions
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task


def test_methods_are_inside_and_the_teacher_is_outside():
    task, teachers = make_task()
    assert set(dict(task.named_children())) == {"student", "criterion", "methods"}
    assert any(name.startswith("methods.fgd.") for name, _ in task.named_parameters())
    assert [m for m in task.modules() if isinstance(m, GraphDetector)] == [task.student]
    held = storages(tensor for _, tensor in teachers.state())
    assert not held & storages((*task.parameters(), *task.buffers()))
    task.methods["fgd"].planted = teachers.teachers[0].network
    assert held == held & storages((*task.parameters(), *task.buffers())) != set()


def test_weights_scale_the_terms():
    task, teacher = make_task()
    batch = make_batch()
    supervised = SupervisedBatch(batch, teacher(batch))
    task.eval()
    once = task(supervised).distillation
    task.weights["fgd"] = 3.0
    thrice = task(supervised).distillation
    assert set(once) == {"fgd/foreground", "fgd/background", "fgd/attention", "fgd/relation"}
    for name, value in once.items():
        assert torch.allclose(3 * value, thrice[name])


def test_without_teacher_the_methods_stay_in_the_graph_with_zero_gradient():
    task, _ = make_task()
    losses = task(SupervisedBatch(make_batch()))
    assert losses.distillation == {}
    sum(losses.detection.values()).backward()
    grads = [p.grad for p in task.methods.parameters()]
    assert all(g is not None and not g.any() for g in grads)


def test_plain_task_has_no_distillation_terms():
    task, _ = make_task()
    plain = type(task)(task.student, task.criterion)
    assert plain(SupervisedBatch(make_batch())).distillation == {}


def drawn(batch):
    """Return the boxes of a batch as the predictions of a head of another kind."""
    images, targets = len(batch.images), batch.targets
    own = torch.arange(images)[:, None] == targets.image
    hot = torch.nn.functional.one_hot(targets.label, 3) * own[..., None]
    xyxy = targets.xyxy.expand(images, -1, -1)
    level = torch.zeros(len(targets.label), dtype=torch.int64)
    return Predictions(xyxy, (0.9 * hot).logit(1e-6), None, level)


def test_detections_of_another_head_go_where_the_loss_would_assign_drawn_boxes():
    task, _ = make_task()
    task.needs_predictions = True
    batch = make_batch()
    out = task.student(batch.images)
    student = task.knowledge(out, (64, 64))
    found = match_candidates(student.predictions, drawn(batch), student.answers)
    kept = found.objectness > BACKGROUND_LOGIT
    assert torch.equal(kept, task.criterion.answers(out.raw, batch.targets) >= 0)
    assert kept.any()


def test_detections_of_one_teacher_are_matched_once_for_all_methods(monkeypatch):
    (task, _), (other, _) = make_task("bckd"), make_task("logits")
    methods = {**task.methods, **other.methods}
    views = {"box": View(columns=((0, 1), (0, 1)))}  # sees less, so that it shares nothing
    methods["box"] = make_task("box")[0].methods["box"]
    task = Task(task.student, task.criterion, methods, None, task.taps, views)
    calls = []
    monkeypatch.setattr(
        response, "match_candidates", lambda *args: calls.append(args) or match_candidates(*args)
    )
    batch = make_batch()
    known, out = (Knowledge((), drawn(batch)),), task.student(batch.images, task.taps)
    supervised = SupervisedBatch(batch, known)
    together = task.losses(out, supervised).distillation
    assert len(calls) == 2
    for name in methods:
        student = task.knowledge(out, (64, 64))
        for term, value in task.method_terms(name, student, supervised).items():
            assert torch.equal(together[f"{name}/{term}"], value)
