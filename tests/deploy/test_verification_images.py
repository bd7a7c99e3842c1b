"""Pictures of another kind than the model was trained on are told."""

import logging

import pytest

from tests.run.small_runs import make_teacher
from tutelage.deploy import verification_images as module
from tutelage.deploy.export import export
from tutelage.deploy.verification_images import VerificationImages, images_to_verify
from tutelage.errors import DataError


@pytest.fixture
def openable(monkeypatch):
    """Stand for data sets: those of the set can be opened."""
    known = {"digits"}

    def images_of(data, split, *, count, image_range):
        assert image_range is None
        if data not in known:
            raise DataError("gone")
        return VerificationImages([], f"{split} of {data}")

    monkeypatch.setattr(module, "images_of", images_of)
    return known


@pytest.mark.parametrize(
    ("data", "told"), [("gone.yaml", "(gone.yaml) cannot be opened"), (None, "are not known")]
)
def test_the_built_in_digits_in_place_of_the_runs_data(openable, caplog, data, told):
    with caplog.at_level(logging.WARNING):
        assert images_to_verify(None, None, data, count=2).source == "val of digits"
    assert f"The data of this model {told}: its export is verified on val of digits" in caplog.text


def test_the_runs_own_data_are_not_worth_a_word(openable, caplog):
    openable.add("d.yaml")
    for data in ("d.yaml", "digits"):
        assert images_to_verify(None, None, data, count=2).source == f"val of {data}"
    assert not caplog.text


def test_data_that_are_gone_are_named_with_the_file_that_names_them(tmp_path):
    make_teacher(tmp_path / "best.safetensors")
    (tmp_path / "config.yaml").write_text("data: gone.yaml\n")
    with pytest.raises(DataError, match=r"gone\.yaml does not exist: .*config\.yaml names it"):
        export(tmp_path, int8=True)
