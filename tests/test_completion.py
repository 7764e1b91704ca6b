"""Bash completes the command line, by its own rules: the completer is the one that users install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SCRIPT = """
eval "$("$1/register-python-argcomplete" spcnet)"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_KEY=9 COMP_CWORD=$3
read -ra COMP_WORDS <<< "$2"
[[ $2 == *' ' ]] && COMP_WORDS+=('')
$(complete -p spcnet | sed 's/.*-F \\([^ ]*\\).*/\\1/') spcnet
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(line, folder):
    """What bash offers behind the line."""
    words = len(line.split()) - (not line.endswith(" "))
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    command = ["bash", "-c", SCRIPT, "bash", str(BIN), line, str(words)]
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {word.strip() for word in done.stdout.splitlines()} - {""}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("spcnet tra", {"track", "train", "trax"}),
        ("spcnet bench sp", {"speed"}),
        ("spcnet track --back", {"--backend"}),
        ("spcnet demo --backend n", {"native"}),
        ("spcnet track --video clip", {"clip one.mp4"}),
    ],
)
def test_bash_completes(line, offered, tmp_path):
    (tmp_path / "clip one.mp4").touch()
    assert {word.replace("\\", "") for word in complete(line, tmp_path)} == offered


def test_completion_imports_nothing_that_a_command_needs():
    code = "import sys; from spcnet.__main__ import make_parser; make_parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"argcomplete", "torch", "cv2", "onnxruntime"} & set(done.stdout.split())
