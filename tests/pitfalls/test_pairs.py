"""KD-45 to KD-49: does the pair fit?"""

import pytest
from torch import nn

from tests.train.parts import make_task
from tutelage.config.schema import MethodConfig
from tutelage.distill import build_methods
from tutelage.train.outset import few_images


@pytest.mark.parametrize(("images", "told"), [(2, True), (3, True), (4, False)])
def test_kd49_methods_that_compare_images_need_some(images, told):
    said = list(few_images(make_task("spkd")[0].methods, images))
    assert bool(said) == told
    if told:
        assert said[0].startswith("spkd compares the images of a batch: it needs at least 4")
        assert f"there are {images}." in said[0]


def test_kd49_also_behind_a_resize_and_no_others():
    wrapped = build_methods([MethodConfig(name="spkd")], [[(4, 4)]], resize=True)
    assert len(list(few_images(nn.ModuleDict(wrapped), 1))) == 1
    assert not list(few_images(make_task("fgd")[0].methods, 1))
