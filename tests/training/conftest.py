import pytest
import tomli_w
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The number of threads decides how sums are rounded, and several are slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def write_config(tracks):
    """Write a small training config, on the synthetic tracks where no other folder is named."""

    def write(path, stages=({"steps": 1},), folder=None, size=25, tracker=None, **optim):
        source = {"format": "got10k", "path": str(folder or tracks)}
        tables = {
            "data": {"sources": [source], "validation": [] if folder else ["track1"]},
            "optim": {"stages": list(stages), "batch": 4, "warmup": 2, "workers": 0, **optim},
            "tracker": {"patch_size": size, "channels": 4, **(tracker or {})},
        }
        path.write_text(tomli_w.dumps(tables))
        return path

    return write
