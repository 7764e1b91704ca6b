"""What the README and the docs say works: Python runs, the test command is CI's, commands and files exist."""

import re
from pathlib import Path

import numpy as np
import pytest

from spcnet.__main__ import main
from spcnet.common.suites import open_data
from spcnet.runtime.run import DEMO_VIDEO

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
COMMANDS = [
    line
    for text in PAGES.values()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
    if re.search(r"(?<![.\w])spcnet ", line)
]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "docs/guides/track.md", "docs/guides/own-model.md"])
def test_the_python_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGES[ROOT / name], re.DOTALL))
    exec(compile(code, name, "exec"), {})  # noqa: S102


def test_the_python_that_stands_for_yours_runs(tmp_path, monkeypatch):
    """With the demo clip in the place of a camera, and two frames in that of an annotated video."""
    monkeypatch.chdir(tmp_path)
    jetson, train = (PAGES[ROOT / "docs" / "guides" / name] for name in ("jetson.md", "train.md"))
    (code,) = re.findall(r"```python\n(.*?)```", jetson, re.DOTALL)
    camera = '"nvarguscamerasrc ! ... ! appsink drop=true max-buffers=1"'
    assert camera in code
    exec(code.replace(camera, repr(str(DEMO_VIDEO))), {})  # noqa: S102
    (code,) = re.findall(r"```python\n(.*?)```", train, re.DOTALL)
    frame = np.zeros((20, 30, 3), np.uint8)
    exec(code, {"annotated_video": lambda: [(frame, (1, 2, 3, 4)), (frame, None)]})  # noqa: S102
    [track] = open_data(Path("data/mine"))
    np.testing.assert_array_equal(track.boxes, [[1, 2, 3, 4], [np.nan] * 4])


def test_the_first_two_commands_install_and_run_and_test():
    shell = [text for language, text in BLOCKS if language == "sh"]
    assert 'pip install ".[opencv,onnxruntime]"' in shell[0] and "spcnet demo" in shell[0]
    assert shell[1].splitlines()[-1].split("#")[0].strip() == "make install test"
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make install test"
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = " ".join(PAGES.values()) + (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"make (\w+)`", text)) <= set(targets)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_verb_and_option_exists(line, capsys):
    words = line.split("#")[0].split("&&")[-1].split()
    words = words[words.index("spcnet") + 1 :]
    verb = words[:2] if words[0] == "bench" else words[:1]
    with pytest.raises(SystemExit) as stop:
        main([*verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(words)):
        assert option in text, option


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_linked_file_exists(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGES[page]):
        assert (page.parent / target).exists(), target
