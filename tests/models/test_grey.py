"""Students of grey images: fed with RGB, started from models of colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.graphs import MENAGERIE, changed
from tests.models.repeatable_weights import fill_normal
from tutelage.errors import ConfigError
from tutelage.models import GraphDetector, build, load
from tutelage.models.catalog import named, recognise
from tutelage.weights.store import save_best

NAMES = ("cell", "platelet")


def grey_and_colour(graph: dict[str, Any]) -> tuple[GraphDetector, GraphDetector]:
    pair = build(changed(graph, ch=1), NAMES), build(graph, NAMES)
    for each in pair:
        fill_normal(each)
        each.eval()
    return pair


def grey_image(side: int = 64) -> Tensor:
    return torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_colours_are_weighed_and_grey_images_taken_as_they_are() -> None:
    detector, _ = grey_and_colour(MENAGERIE)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images * weights).sum(1, keepdim=True)
    for first, second in zip(detector(images).raw, detector(grey).raw, strict=True):
        torch.testing.assert_close(first, second)
    assert not torch.equal(detector(images).raw[0], detector(images.flip(1)).raw[0])


@pytest.mark.parametrize("arch", ["yolov7-tiny@0.125", "yolov7-w6@0.125", MENAGERIE], ids=str)
def test_weights_of_a_model_of_colours_give_the_same_on_grey_images(
    tmp_path: Path, arch: str | dict[str, Any]
) -> None:
    graph = named(arch) if isinstance(arch, str) else arch
    grey, colour = grey_and_colour(graph)
    meta = {"arch": colour.arch, "arch_name": "x", "names": list(NAMES)}
    save_best(tmp_path / "best.safetensors", colour.state_dict(), meta)
    from tutelage.models.build import load_weights

    report = load_weights(grey, tmp_path / "best.safetensors")
    assert report.skipped == ()
    assert "summed over RGB" in report.in_words("model.77.", 2, 2)
    image = grey_image(128)
    for first, second in zip(grey(image).raw, colour(image.expand(-1, 3, -1, -1)).raw, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_weights_of_a_grey_model_are_loaded_as_they_are(tmp_path: Path) -> None:
    grey, _ = grey_and_colour(MENAGERIE)
    meta = {"arch": grey.arch, "arch_name": "x", "names": list(NAMES)}
    save_best(tmp_path / "best.safetensors", grey.state_dict(), meta)
    restored = load(tmp_path / "best.safetensors").eval()
    assert restored.image_channels == 1
    torch.testing.assert_close(restored(grey_image()).raw, grey(grey_image()).raw)


@pytest.mark.parametrize("channels", [0, 2, 4, 3.5, True, "RGB", None])
def test_other_channels_are_refused_with_the_reason(channels: Any) -> None:
    with pytest.raises(ConfigError, match="images are read as RGB; got") as error:
        build(changed(MENAGERIE, ch=channels), NAMES)
    assert error.value.code == "C28"


def test_a_grey_graph_has_the_name_of_no_model_of_colours() -> None:
    graph = named("yolov7-tiny")
    assert recognise(graph) == "yolov7-tiny"
    assert recognise({**graph, "ch": 1}) is None
