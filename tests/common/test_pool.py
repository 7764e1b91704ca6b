import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow
WORK = """
import sys, time
from pathlib import Path
from spcnet.__main__ import main
from spcnet.common.pool import Pool
from spcnet.runtime import cli
from spcnet.runtime.files import replacing
def write(path):
    with replacing(path) as aside:
        aside.write_text("half")
        time.sleep(60)
def run(options):
    with Pool(2) as pool:
        list(pool.map(write, [Path(sys.argv[1]) / str(n) for n in range(9)]))
if __name__ == "__main__":
    cli._info = run
    sys.exit(main(["info"]))
"""


@pytest.mark.parametrize(
    ("number", "group", "status"),
    [
        (signal.SIGINT, True, 2),  # a terminal
        (signal.SIGTERM, False, 2),  # docker stop
        (signal.SIGKILL, False, -9),
    ],
)
def test_processes_end_with_their_parent(number, group, status, tmp_path):
    """At once, and without a half-written file but where the parent could not tell them."""
    (tmp_path / "work.py").write_text(WORK)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, str(tmp_path / "work.py"), str(out)]
    options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as process:
        while len(list(out.iterdir())) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        (os.killpg if group else os.kill)(process.pid, number)
        error = process.communicate(timeout=20)[1]  # they hold it open until they end
    assert process.returncode == status
    assert "Traceback" not in error and (number == signal.SIGKILL or error == "spcnet: interrupted\n")
    assert len(list(out.iterdir())) == (2 if number == signal.SIGKILL else 0)
