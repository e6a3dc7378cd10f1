import pytest

from studies.sweeping import ABLATION, SEARCH, Folder


@pytest.fixture
def ablation(tmp_path):
    folder = Folder(tmp_path, ABLATION)
    yield folder
    folder.close()


@pytest.fixture
def search(tmp_path):
    folder = Folder(tmp_path, SEARCH)
    yield folder
    folder.close()
