"""FGD against numbers that the authors' published modules produced."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tutelage.distill.attention import attention
from tutelage.distill.masks import object_masks
from tutelage.distill.methods import FGD
from tutelage.structures import Knowledge, Targets

FOLDER = Path(__file__).parents[1] / "golden" / "distillation"
CASES = sorted(path.stem for path in FOLDER.glob("fgd_*.npz"))
TERMS = {"foreground": "fg", "background": "bg", "attention": "attn", "relation": "rel"}
WEIGHTS = {
    "temperature": "temp",
    "alpha": "alpha_fg",
    "beta": "beta_bg",
    "gamma": "gamma_attn",
    "lam": "lambda_rel",
}


class Case(NamedTuple):
    arrays: dict[str, Tensor]
    method: FGD
    student: Tensor
    teacher: Tensor
    targets: Targets
    image_size: tuple[int, int]
    scale: float

    def terms(self) -> dict[str, Tensor]:
        student, teacher = Knowledge((self.student,)), Knowledge((self.teacher,))
        return self.method(student, teacher, self.targets, self.image_size)

    def factor(self, term: str) -> float:
        option = dict(zip(TERMS, list(WEIGHTS)[1:], strict=True))[term]
        return getattr(self.method, option)


def ours(name: str) -> str:
    """Translate the name of a published parameter into ours."""
    if name.startswith("align"):
        return f"connectors.0.project.{name.removeprefix('align_')}"
    part, *rest = name.split("_")
    side = {"s": "student", "t": "teacher"}[rest[0]]
    layer = "mask" if part == "mask" else f"transform.{['conv1', 'ln', '', 'conv2'].index(rest[1])}"
    return f"levels.0.{side}.{layer}.{rest[-1]}"


def load(name: str) -> Case:
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {k: torch.from_numpy(np.asarray(file[k])) for k in file.files if k != "meta_json"}
    student, teacher = arrays["in__student"].requires_grad_(), arrays["in__teacher"]
    options = {ours: float(arrays[f"cfg__{theirs}"]) for ours, theirs in WEIGHTS.items()}
    method = FGD([(student.shape[1], teacher.shape[1])], standardise=False, **options).double()
    shapes = {key: value.shape for key, value in method.state_dict().items()}
    state = {ours(k.removeprefix("p__")): v for k, v in arrays.items() if k.startswith("p__")}
    method.load_state_dict({key: value.reshape(shapes[key]) for key, value in state.items()})
    scale = [float(arrays.get(f"cfg__scale_{axis}", torch.ones(()))) for axis in "yx"]
    height, width = (arrays["in__img_hw"][0] * torch.tensor(scale)).tolist()
    image = arrays["in__box_image"]
    targets = Targets(image, torch.zeros_like(image), arrays["in__boxes"].reshape(-1, 4))
    size = (round(height), round(width))
    assert size == (height, width)
    return Case(arrays, method, student, teacher, targets, size, scale[0] * scale[1])


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def same(actual: Tensor, expected: Tensor, atol: float = 1e-15) -> None:
    torch.testing.assert_close(actual, expected.reshape(actual.shape), rtol=1e-9, atol=atol)


def test_cases_are_there() -> None:
    assert len(CASES) == 13


def test_every_term_has_its_published_value(case: Case) -> None:
    terms = case.terms()
    assert list(terms) == list(TERMS)
    for term, theirs in TERMS.items():
        expected = case.arrays[f"out__{theirs}"] * case.factor(term)
        same(terms[term], expected, atol=1e-12 * float(case.arrays["out__total"]))


def test_total_and_all_gradients(case: Case) -> None:
    total = torch.stack(list(case.terms().values())).sum() / case.scale
    same(total, case.arrays["out__total"])
    total.backward()
    parameters = dict(case.method.named_parameters())
    checked = set()
    for key, expected in case.arrays.items():
        name = key.removeprefix("grad__")
        if not key.startswith("grad__") or name.startswith("student_of"):
            continue
        if name == "student":
            actual = case.student.grad
        else:
            checked.add(ours(name))
            actual = parameters[ours(name)].grad
        assert actual is not None
        same(actual, expected, atol=1e-11 * max(1e-3, float(expected.abs().max())))
    assert checked == set(parameters)


@pytest.mark.parametrize("term", TERMS)
def test_gradient_of_each_term(case: Case, term: str) -> None:
    value = case.terms()[term]
    (gradient,) = torch.autograd.grad(value, case.student)
    expected = case.arrays[f"grad__student_of_{TERMS[term]}"] * case.factor(term)
    same(gradient, expected, atol=1e-12 * max(1e-6, float(expected.abs().max())))


def test_masks(case: Case) -> None:
    b, _, h, w = case.teacher.shape
    foreground, background = object_masks(case.targets, b, (h, w), case.image_size)
    same(foreground, case.arrays["mid__mask_fg"])
    same(background, case.arrays["mid__mask_bg"])


@pytest.mark.parametrize("side", ["s", "t"])
def test_attention(case: Case, side: str) -> None:
    x = case.method.connectors[0](case.student) if side == "s" else case.teacher
    spatial, channel = attention(x.detach(), case.method.temperature)
    same(spatial, case.arrays[f"mid__spatial_att_{side}"])
    same(channel, case.arrays[f"mid__channel_att_{side}"])
