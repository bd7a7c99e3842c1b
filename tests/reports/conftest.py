import shutil

import pytest

from tests.reports.two_runs import train_two


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return train_two(tmp_path_factory.mktemp("report"))


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of them that a test may spoil."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"
