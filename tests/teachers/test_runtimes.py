"""Ways to run a teacher's network."""

import pytest
import torch

from tutelage.models.build import load
from tutelage.teachers import NativeTeacher, fingerprint
from tutelage.teachers.runtimes import FixedBatch, make_forward

TAPS = ["74", "65", "76"]  # not in graph order


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return load("yolov7-tiny@0.125", names=["a", "b"]).eval()


def images(count=3, size=(64, 96)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def told(teacher, count=3):
    knowledge = teacher(images(count), predictions=True)
    return (*knowledge.features, *(x for x in knowledge.predictions[:3] if x is not None))


def test_batches_are_split_and_filled_up(network):
    teacher, shapes = NativeTeacher(network, TAPS), []

    def compile_graph(flat, like):
        def graph(part):
            shapes.append(len(part))
            return flat(part)

        assert len(like) == 2
        return graph

    forward = FixedBatch(teacher.network, 2, compile_graph)
    teacher.run_by("graph", forward)
    for found, expected in zip(told(teacher, 5), told(teacher.reference(), 5), strict=True):
        torch.testing.assert_close(found, expected)
    assert shapes == [2, 2, 2]
    assert teacher(images()).predictions is None
    assert teacher(images(2, (64, 64)))[0][0].shape[-2:] == (8, 8)


def test_bfloat16_answers_in_float32_and_leaves_the_reference_alone(network):
    teacher = NativeTeacher(network, TAPS)
    held, expected = fingerprint(teacher.state()), told(teacher)
    teacher.run_by("bf16", make_forward("bf16", teacher.network, batch=3))
    for found, reference in zip(told(teacher), expected, strict=True):
        assert found.dtype == torch.float32
        assert not torch.equal(found, reference)
        assert (found - reference).norm() < 0.02 * reference.norm()
    assert fingerprint(teacher.state()) == held
    for found, reference in zip(told(teacher.reference()), expected, strict=True):
        assert torch.equal(found, reference)


def test_other_taps_are_run_the_same_way(network):
    teacher = NativeTeacher(network, TAPS)
    teacher.run_by("bf16", make_forward("bf16", teacher.network, batch=3))
    other = teacher.sharing(["65"])
    assert other.runtime == "bf16"
    assert torch.equal(other(images()).features[0], teacher(images()).features[1])


def test_the_head_goes_on_from_given_maps(network):
    teacher = NativeTeacher(network, ["74", "75", "76"])
    teacher.run_by("bf16", make_forward("bf16", teacher.network, batch=3))
    maps = tuple(f.clone().requires_grad_() for f in teacher.reference()(images()).features)
    expected = teacher.reference()(images(), predictions=True).predictions.logits
    logits = teacher(images()).head(maps).logits
    torch.testing.assert_close(logits, expected)
    logits.sum().backward()
    assert all(bool(each.grad.any()) for each in maps)


@pytest.mark.slow
def test_integers_say_nearly_the_same(network):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    teacher = NativeTeacher(network, TAPS)
    expected = told(teacher)[0]  # the later maps of random weights are too small for integers
    forward = make_forward("openvino-int8", teacher.network, batch=2, samples=[images()])
    teacher.run_by("openvino-int8", forward)
    found = told(teacher)[0]
    assert 1e-3 < float((found - expected).norm() / expected.norm()) < 0.2
