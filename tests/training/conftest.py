"""No test keeps anything in the user's cache folder."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SPCNET_CACHE", str(folder))
    return folder
