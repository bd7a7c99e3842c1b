import pytest

from tests.data.write_dataset import write_yaml
from tests.run.small_runs import make_data, make_teacher


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Data with a test split of its own, and a teacher."""
    folder = tmp_path_factory.mktemp("world")
    make_data(folder)
    test = make_data(folder / "more").removesuffix("/data.yaml")
    splits = {"train": "images/train", "val": "images/train", "test": f"{test}/images/train"}
    data = write_yaml(folder / "data.yaml", **splits, names=["cat", "dog"])
    return str(data), make_teacher(folder / "teacher.safetensors")
