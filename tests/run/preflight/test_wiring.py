import pytest
import torch

from tests.setup.small_tasks import make_batch, make_task
from tutelage.distill.methods import METHODS
from tutelage.errors import ConfigError, TeacherError
from tutelage.run.preflight.wiring import check_wiring
from tutelage.structures import Knowledge, Predictions
from tutelage.teachers import fingerprint
from tutelage.training.gradient_ratio import measure_weights

BATCH = make_batch()


def check(task, teachers):
    check_wiring(task, teachers, BATCH)


class ChangedTeachers:
    """Teachers whose features are changed."""

    def __init__(self, teachers, change):
        self._teachers, self._change, self.state = teachers, change, teachers.state

    def __call__(self, images):
        return (Knowledge(tuple(self._change(f) for f in self._teachers(images)[0].features)),)


def test_a_sound_task_passes_and_is_left_alone():
    task, teacher = make_task()
    before = fingerprint(task.state_dict().items())
    check(task, teacher)
    assert fingerprint(task.state_dict().items()) == before
    assert all(p.grad is None for p in task.parameters())


@pytest.mark.parametrize("name", [name for name in METHODS if name != "ld"])
def test_every_method_fits_a_pair_of_anchor_heads_and_finds_a_weight(name):
    task, teacher = make_task(name)
    check(task, teacher)
    found = measure_weights(task, teacher, [BATCH], {name: 1.5})
    assert found.weights[name] * found.ratios[name][0] == pytest.approx(1.5)


def test_what_a_pair_cannot_do_is_refused_with_the_reason():
    task, teacher = make_task("ld")
    with pytest.raises(ConfigError, match=r"Method 'ld' cannot compare.* not a distribution"):
        check(task, teacher)


def replaced(method, change):
    """Return the method with its terms changed."""

    class Changed(type(method)):
        def forward(self, student, teacher, targets, image_size):
            return change(super().forward(student, teacher, targets, image_size))

    method.__class__ = Changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda terms: {k: 0 * v for k, v in terms.items()}, "is 0 on the first batch"),
        (
            lambda terms: {k: v * float("nan") for k, v in terms.items()},
            "is nan on the first batch",
        ),
        (lambda terms: {k: v / 0 for k, v in terms.items()}, "is inf on the first batch"),
    ],
)
def test_dead_terms_are_named(change, message):
    task, teacher = make_task()
    replaced(task.methods["fgd"], change)
    with pytest.raises(TeacherError, match="fgd/foreground " + message):
        check(task, teacher)


def test_a_loss_that_does_not_reach_the_student():
    task, teacher = make_task()
    inner = task.losses
    task.losses = lambda out, supervised: inner(
        out._replace(taps=tuple(t.detach() for t in out.taps)), supervised
    )
    with pytest.raises(TeacherError, match="reaches no parameter of the student"):
        check(task, teacher)


def test_a_connector_that_does_not_train():
    task, teacher = make_task()
    dead = torch.nn.Parameter(torch.zeros(3))
    task.methods["fgd"].register_parameter("forgotten", dead)
    with pytest.raises(TeacherError, match=r"fgd\.forgotten does not train"):
        check(task, teacher)


def test_a_teacher_that_drifts():
    task, teacher = make_task()
    network = teacher.teachers[0].network

    def drift(*_):
        next(network.parameters()).data.add_(1e-6)

    network.register_forward_hook(drift)
    with pytest.raises(TeacherError, match="would not work: the teacher changed"):
        check(task, teacher)


def test_the_message_stays_readable():
    task, teacher = make_task()
    for number in range(9):
        dead = torch.nn.Parameter(torch.zeros(3))
        task.methods["fgd"].register_parameter(f"forgotten{number}", dead)
    with pytest.raises(TeacherError, match=r"fgd\.forgotten5 does not train; and 3 more\. "):
        check(task, teacher)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f * float("nan"), "is not finite"),
        (lambda f: torch.ones_like(f), "is constant"),
        (lambda f: f.clone().requires_grad_(), "carries a gradient"),
    ],
)
def test_a_teacher_that_says_nothing(spoil, message):
    task, teacher = make_task()
    with pytest.raises(TeacherError, match=message):
        check(task, ChangedTeachers(teacher, spoil))


def test_the_cure_is_for_what_is_broken():
    task, teacher = make_task()
    with pytest.raises(TeacherError, match="Mend the teacher"):
        check(task, ChangedTeachers(teacher, lambda f: f * float("nan")))
    replaced(task.methods["fgd"], lambda terms: {k: v * float("nan") for k, v in terms.items()})
    with pytest.raises(TeacherError, match=r"is nan .* Leave out the method's weight"):
        check(task, teacher)


@pytest.mark.parametrize(
    ("logit", "cure"), [(-9.0, "The teacher finds nothing"), (3.0, "Leave out the method's weight")]
)
def test_a_term_that_is_0_since_the_teacher_finds_nothing(logit, cure):
    task, teachers = make_task()
    replaced(task.methods["fgd"], lambda terms: {k: 0 * v for k, v in terms.items()})
    images = len(BATCH.images)
    said = Predictions(
        torch.rand(images, 5, 4), torch.full((images, 5, 3), logit), None, torch.zeros(5).long()
    )

    def asked(batch):
        return tuple(each._replace(predictions=said) for each in teachers(batch))

    asked.state = teachers.state
    with pytest.raises(TeacherError, match=cure):
        check(task, asked)


def test_a_term_without_any_gradient():
    task, teacher = make_task()
    replaced(task.methods["fgd"], lambda terms: terms | {"attention": terms["attention"].detach()})
    with pytest.raises(TeacherError, match="gradient of fgd/attention reaches no parameter"):
        check(task, teacher)


def test_it_is_judged_in_full_precision():
    """Half precision without a gradient scaler would lose the gradients of a small term."""
    task, teacher = make_task(alpha=1e-12)

    def halved(supervised):
        raise AssertionError("the task's forward is under autocast")

    task.forward = halved
    check(task, teacher)


def test_a_teacher_too_large_for_half_precision():
    task, teacher = make_task()
    with pytest.raises(TeacherError, match=r"not finite in half precision \(--precision fp32"):
        check(task, ChangedTeachers(teacher, lambda f: f.half() * torch.inf))


def test_a_teacher_whose_classes_are_not_in_the_batch_is_no_fault():
    task, teachers = make_task("fgd")
    task.views["fgd"] = task.views["fgd"]._replace(labels=(7,))
    check(task, teachers)
    task.views["fgd"] = task.views["fgd"]._replace(labels=(0, 1, 2))
    replaced(task.methods["fgd"], lambda terms: terms | {"foreground": 0 * terms["foreground"]})
    with pytest.raises(TeacherError, match="fgd/foreground is 0"):
        check(task, teachers)
