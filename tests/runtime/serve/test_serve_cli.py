"""The verb serve and track --select, as they are typed."""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import cv2
import pytest
import synthetic
from consoles import Client

from spcnet.__main__ import main


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    images, boxes = synthetic.moving_target(count=8)
    folder = tmp_path_factory.mktemp("frames")
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder, boxes


@contextmanager
def started(*arguments):
    """A process of spcnet, and the port that its console has."""
    outside = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    process = subprocess.Popen(
        [sys.executable, "-m", "spcnet", *map(str, arguments), "--model", "nano"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=outside | {"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.7 22", "USER": "pilot"},
    )
    try:
        first = process.stdout.readline()
        yield process, int(re.fullmatch(r"the console is at http://127\.0\.0\.1:(\d+)/\n", first)[1])
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_it_and_keeps_what_is_recorded(frames, tmp_path):
    with started("serve", frames[0], "--port", "0", "--record", tmp_path) as (process, port):
        assert f"ssh -L {port}:localhost:{port} pilot@10.0.0.7" in process.stdout.readline()
        with Client(port) as client:
            client.until(lambda state: state["frame"])
            client.say(do="add", box=list(frames[1][0]))
            client.say(do="record")
            client.say(do="step")
            client.until(lambda state: state["frame"]["number"] == 1)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        written = re.findall(r"wrote +(.+)", process.stdout.read())
    assert [path.rpartition(".")[2] for path in written] == ["csv", "jsonl"]
    with open(written[0]) as file:
        (row,) = csv.DictReader(file)
    assert row["frame"] == "1" and {str(path) for path in tmp_path.iterdir()} == {*written}


def test_select_asks_in_the_browser_where_there_is_no_display(frames, tmp_path):
    out = tmp_path / "boxes.csv"
    with started("track", frames[0], "--select", "--csv", out, "--start", 2) as (process, port):
        with Client(port) as client:
            client.until(lambda state: state["frame"])
            client.say(do="add", box=list(frames[1][2]))
            assert client.say(do="done")["type"] == "done"
        assert process.wait(20) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == [2, 3, 4, 5, 6, 7]
    assert [float(rows[0][side]) for side in "xywh"] == pytest.approx(frames[1][2], abs=0.01)


@pytest.mark.parametrize("choose", [True, False])
def test_select_without_a_box_tracks_nothing(frames, tmp_path, choose):
    with started("track", frames[0], "--select", "--csv", tmp_path / "boxes.csv") as (process, port):
        if choose:
            with Client(port) as client:
                client.say(do="done")
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 2
        assert ("no box was drawn" if choose else "interrupted") in process.stdout.read()
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_said(frames, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(frames[0]), "--port", str(port)]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"spcnet: port {port} of 127.0.0.1 cannot be used (Address already in use); give")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--host", "192.0.2.7"], "192.0.2.7"),
        (["--port", "70000"], "[0, 65535]"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--record", __file__], "no folder"),
    ],
)
def test_what_cannot_be_served_is_said(frames, capsys, arguments, words):
    try:
        assert main(["serve", str(frames[0]), "--port", "0", *arguments]) == 2
    except SystemExit as stop:
        assert stop.code == 2
    text = capsys.readouterr().err
    assert words in text and "Traceback" not in text


def test_a_source_that_is_not_there_is_said(capsys):
    assert main(["serve", "no-such-video.mp4", "--port", "0"]) == 2
    assert "no video no-such-video.mp4" in capsys.readouterr().err


def test_without_its_package_it_says_how_to_get_it(frames, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("websockets", "spcnet.runtime.serve."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "websockets", None)
    assert main(["serve", str(frames[0])]) == 2
    assert "pip install 'spcnet[serve]'" in capsys.readouterr().err
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["track", str(frames[0]), "--select"]) == 2
    assert "pip install 'spcnet[serve]', or give the target as --box X,Y,W,H" in capsys.readouterr().err


def test_an_address_of_another_machine_is_said(frames, capsys):
    assert main(["serve", str(frames[0]), "--host", "192.0.2.1"]) == 2
    assert capsys.readouterr().err.startswith(
        "spcnet: 192.0.2.1 is no address of this machine; give one as --host"
    )
