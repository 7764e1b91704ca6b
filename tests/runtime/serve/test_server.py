"""The console by its protocol: real clients, a real tracker, bad input, and memory."""

import base64
import csv
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import synthetic
from consoles import Client, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from spcnet.common.metrics import iou
from spcnet.runtime.run import DEMO_VIDEO
from spcnet.runtime.serve.server import ASKS, LONGEST, VIEWERS
from spcnet.runtime.video import Video


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A folder of frames, and the true boxes of their target."""
    images, boxes = synthetic.moving_target(count=30, size=(243, 321))
    folder = tmp_path_factory.mktemp("frames")
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number:03d}.png"), image)
    return folder, boxes


@pytest.fixture(scope="module")
def console(frames, tmp_path_factory):
    record = tmp_path_factory.mktemp("recordings") / "boxes"
    with serve(frames[0], record=record) as found:
        found.folder = record
        yield found


@pytest.fixture
def client(console):
    """A client of a console that is held at its first frame, without targets."""
    with Client(console.port) as client:
        client.say(do="reopen")
        client.until(lambda state: state["frame"] and state["frame"]["number"] == 0)
        yield client


def get(port, path="/", **headers):
    """Status and text of an HTTP answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def test_a_target_is_followed(client, frames):
    _, boxes = frames
    target = client.say(do="add", box=list(boxes[0]), tag="first")
    assert target.pop("target") >= 0 and target == {"type": "done", "do": "add", "tag": "first"}
    client.say(do="play")
    found, state = {}, client.look().state
    while not state["ended"]:
        found[state["frame"]["number"]] = state["targets"][0]["box"]
        state = client.look().state
    overlap = [iou(np.array([box]), boxes[[number]])[0] for number, box in found.items()]
    assert len(overlap) > 10 and min(overlap) > 0.6
    assert state["frame"]["number"] == len(boxes) - 1
    assert state["ended"].endswith("has come to its end") and not state["playing"]
    assert set(state["stages_ms"]) > {"crop", "features", "locate", "learn"}
    assert "open the source again" in client.say(do="play")["reason"]


def test_files_play_at_their_rate(client):
    client.say(do="play")
    client.until(lambda state: state["frame"]["number"] >= 2)
    start = time.monotonic()
    state = client.until(lambda state: state["frame"]["number"] >= 22)
    assert time.monotonic() - start > 0.6  # 25 a second; a busy machine may be slower
    assert 0 < state["fps"] < 30
    client.say(do="pause")


def test_two_viewers_see_the_same(client, console, frames):
    client.say(do="add", box=list(frames[1][0]))
    client.say(do="add", box=[200, 100, 40, 40])
    with Client(console.port) as other:
        for number in range(4):
            seen = [one.look(picture=True) for one in (client, other)]
            assert seen[0].state == seen[1].state and seen[0].state["frame"]["number"] == number
            assert seen[0].picture == seen[1].picture
            image = cv2.imdecode(np.frombuffer(seen[0].picture, np.uint8), cv2.IMREAD_COLOR)
            truth = cv2.imread(str(frames[0] / f"{number:03d}.png"))
            assert image.shape == truth.shape and cv2.PSNR(image, truth) > 30
            client.say(do="step")
            time.sleep(0.05)


def test_a_target_is_begun_anew_and_dropped(client, frames):
    first = client.say(do="add", box=[200, 150, 40, 40])["target"]
    second = client.say(do="add", box=[10, 10, 30, 30])["target"]
    client.say(do="step")
    assert client.say(do="restart", target=first, box=list(frames[1][1]))["target"] == first
    client.say(do="step")
    state = client.until(lambda state: state["frame"]["number"] == 2)
    assert [target["id"] for target in state["targets"]] == [first, second]
    assert iou(np.array([state["targets"][0]["box"]]), frames[1][[2]])[0] > 0.7
    client.say(do="drop", target=first)
    assert [target["id"] for target in client.look().state["targets"]] == [second]


def test_thresholds_change_at_once(client, frames):
    client.say(do="add", box=list(frames[1][0]))
    client.say(do="configure", changes={"uncertain_score": 1.5, "lost_score": 1.4, "update_interval": 3})
    client.say(do="step")
    state = client.until(lambda state: state["frame"]["number"] == 1)
    assert state["targets"][0]["status"] != "TRACKING"
    assert (state["config"]["lost_score"], state["config"]["update_interval"]) == (1.4, 3)
    client.say(do="configure", changes=state["defaults"])
    assert client.look().state["config"] == state["defaults"]


def test_the_response_is_shown_while_it_is_asked_for(client, console, frames):
    target = client.say(do="add", box=list(frames[1][0]))["target"]
    client.say(do="step")
    seen = client.look(response=target)
    while seen.response is None:
        seen = client.look(response=target)
    size = seen.response["points"]
    truth = console.console.snapshot.responses[target]
    assert truth.shape == (seen.response["scales"], size, size)
    image = np.frombuffer(base64.b64decode(seen.response["map"]), np.uint8).reshape(size, size)
    low, high = seen.response["low"], seen.response["high"]
    best = truth[seen.response["scale"] + len(truth) // 2]
    np.testing.assert_allclose(low + image / 255 * (high - low), best, atol=(high - low) / 255 + 1e-3)
    assert high == pytest.approx(truth.max(), abs=1e-4)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert abs(row - size // 2) < size / 8 and abs(column - size // 2) < size / 8
    client.say(do="pause")
    assert client.look(response=999).response is None


BAD = [
    ("{", "is not JSON"),
    ("[1]", "is a list"),
    ('{"do": "fly"}', "'fly'; give one of add, restart"),
    ('{"do": ["add"]}', "give one of"),
    ("{}", "do is None"),
    ('{"do": "play", "tag": {}}', "tag is neither"),
    ('{"do": "play", "tag": "' + 65 * "x" + '"}', "tag is neither"),
    ('{"do": "add"}', "add.box is missing"),
    ('{"do": "add", "box": [1, 2, 3]}', "has 3 values"),
    ('{"do": "add", "box": [1, 2, "3", 4]}', "must be of type float"),
    ('{"do": "add", "box": [NaN, 2, 30, 40]}', "NaN is not standard JSON"),
    ('{"do": "add", "box": [1e999, 2, 30, 40]}', "finite"),
    ('{"do": "add", "box": [10, 10, 0, 40]}', "positive width and height"),
    ('{"do": "add", "box": [10, 10, 40, -40]}', "positive width and height"),
    ('{"do": "add", "box": [900, 10, 40, 40]}', "outside the frame of 321 x 243"),
    ('{"do": "add", "box": [1, 2, 1000, 40]}', "larger than the frame"),
    ('{"do": "add", "box": [10, 10, 40, 40], "force": true}', "unknown key add.force"),
    ('{"do": "drop", "target": 4711}', "no target 4711"),
    ('{"do": "drop", "target": "0"}', "must be of type int"),
    ('{"do": "restart", "target": 4711, "box": [10, 10, 40, 40]}', "no target 4711"),
    ('{"do": "configure", "changes": {"lost_score": 5}}', "above uncertain_score"),
    ('{"do": "configure", "changes": {"lost_score": -1}}', "give a value in"),
    ('{"do": "configure", "changes": {"patch_size": 64}}', "patch_size"),
    ('{"do": "configure", "changes": {"speed": 64}}', "speed"),
    ('{"do": "stop"}', "nothing is being recorded"),
    ('{"do": "done"}', "Ctrl-C"),
    ('{"do": "read", "name": "../../etc/passwd"}', "no recording '../../etc/passwd'"),
    ('{"do": "add", "box": ' + 20_000 * "[" + 20_000 * "]" + "}", "nested too deeply"),
    (b"\0\1", "is binary"),
]


@pytest.mark.parametrize(("message", "reason"), BAD)
def test_what_is_bad_gets_a_sentence_and_changes_nothing(client, console, message, reason):
    target = client.say(do="add", box=[60, 50, 48, 36])["target"]
    before = client.look().state
    client.socket.send(message)
    answer = json.loads(client.socket.recv(20))
    assert answer["type"] == "refused" and reason in answer["reason"] and "\n" not in answer["reason"]
    assert len(answer["reason"]) < 400
    client.say(do="step")
    after = client.until(lambda state: state["frame"]["number"] == 1)
    assert [one["id"] for one in after["targets"]] == [target] and after["config"] == before["config"]
    assert after["targets"][0]["status"] == "TRACKING"


def test_what_is_too_long_ends_the_connection_only(client, console):
    with Client(console.port) as other:
        other.socket.send("x" * (LONGEST + 1))
        with pytest.raises(ConnectionClosed) as closed:
            other.socket.recv(20)
        assert closed.value.rcvd.code == 1009
    client.say(do="step")
    assert client.until(lambda state: state["frame"]["number"] == 1)


def test_who_asks_too_much_is_refused(client):
    for _ in range(ASKS + 2):  # one more is being answered, when there is something new
        client.socket.send('{"do": "next"}')
    assert "wait for an answer" in json.loads(client.socket.recv(20))["reason"]


def test_there_is_a_limit_of_viewers(client, console):
    viewers = [Client(console.port) for _ in range(VIEWERS - 1)]
    with pytest.raises(InvalidStatus) as refused:
        Client(console.port)
    assert refused.value.response.status_code == 503 and b"close one" in refused.value.response.body
    for viewer in viewers:
        viewer.close()


def test_the_page_and_the_state_over_http(console, client):
    status, page, headers = get(console.port)
    assert status == 200 and "<title>spcnet console</title>" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    for name in ("console.js", "console.css", "icon.svg"):
        assert get(console.port, f"/{name}")[0] == 200
    state = json.loads(get(console.port, "/api/state")[1])
    assert state["backend"] in ("native", "cpu") and state["frame"]["width"] == 321
    for path in ("/../console.py", "/page/index.html", "/console.py", "/%2e%2e/console.py", "//"):
        assert get(console.port, path)[0] == 404


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Host": "evil.example"}, "evil.example"),
        ({"Host": "127.0.0.1.evil.example:80"}, "not a name of this console"),
        ({"Host": ""}, "not a name of this console"),
        ({"Origin": "http://evil.example"}, "only pages of this console"),
        ({"Origin": "null"}, "only pages of this console"),
        ({"Origin": "http://127.0.0.1:1"}, "only pages of this console"),
    ],
)
def test_pages_of_others_are_refused(console, headers, words):
    for path in ("/", "/api/state", "/ws"):
        status, text, _ = get(console.port, path, **headers)
        assert status == 403 and words in text
    with pytest.raises((InvalidStatus, ConnectionClosed)) as refused:
        Client(console.port, additional_headers=headers)
    if "Host" not in headers:  # the client sends its own, too
        assert refused.value.response.status_code == 403


def test_a_tunnel_and_its_own_page_are_let_in(console):
    for host in ("localhost:9000", "127.0.0.1:1", "[::1]:80", "192.168.1.7"):
        assert get(console.port, "/api/state", Host=host, Origin=f"http://{host}")[0] == 200


def test_a_port_that_others_reach_asks_for_the_token(frames):
    with serve(frames[0], host="0.0.0.0") as console:
        token = console.access.token
        assert len(token) >= 32 and get(console.port)[0] == 200  # the page, which asks for it
        wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
        for path, headers in (
            ("/api/state", {}),
            (f"/api/state?token={wrong}", {}),
            ("/api/state?token=%C3%A9", {}),
            ("/ws?token=", {"Authorization": f"Bearer {wrong}"}),
        ):
            status, text, _ = get(console.port, path, **headers)
            assert status == 401 and token not in text
        with pytest.raises(InvalidStatus) as refused:
            Client(console.port)
        assert refused.value.response.status_code == 401
        assert get(console.port, f"/api/state?token={token}")[0] == 200
        with Client(console.port, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            assert client.look().state["source"] == str(frames[0])
        assert get(console.port, "/api/state", Host="evil.example")[0] == 403


def test_boxes_are_recorded_and_fetched(client, console, frames):
    client.say(do="add", box=list(frames[1][0]))
    client.say(do="record")
    assert "already" in client.say(do="record")["reason"]
    seen = {}
    for number in range(1, 5):
        client.say(do="step")
        state = client.until(lambda state, n=number: state["frame"]["number"] == n)
        seen[number] = state["targets"][0]
    assert state["recording"]["frames"] == 4
    names = client.say(do="stop")["files"]
    table, lines = ((console.folder / name).read_bytes().decode() for name in names)
    rows = list(csv.DictReader(table.splitlines()))
    assert [int(row["frame"]) for row in rows] == [*seen]
    for row in rows:
        there = seen[int(row["frame"])]
        assert [float(row[side]) for side in "xywh"] == pytest.approx(there["box"], abs=0.01)
        assert row["status"] == there["status"] and int(row["target"]) == there["id"]
    assert [json.loads(line)["frame"] for line in lines.splitlines()] == [*seen]
    for name, text in zip(names, (table, lines), strict=True):
        answer = client.say(do="read", name=name, start=7)
        assert answer["size"] == len(text) and client.socket.recv(20).decode() == text[7:]
    assert "give a number in" in client.say(do="read", name=names[0], start=-1)["reason"]
    assert client.look().state["recorded"][-2:] == names


def test_files_of_others_stay(client, console):
    console.folder.mkdir(exist_ok=True)
    now = time.time()
    for ahead in range(4):
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now + ahead))
        (console.folder / f"boxes-{stamp}.jsonl").write_text("mine")
    client.say(do="record")
    names = client.say(do="stop")["files"]
    others = [path for path in console.folder.iterdir() if path.read_text() == "mine"]
    assert len(others) == 4 and not {path.name for path in others} & {*names}
    assert not [path for path in console.folder.iterdir() if path.name.startswith(".")]


def test_frames_that_change_their_size_end_the_source(tmp_path):
    for number, width in enumerate((64, 64, 80)):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"),
            np.random.default_rng(number).integers(0, 255, (48, width, 3), np.uint8),
        )
    with serve(tmp_path) as console, Client(console.port) as client:
        client.until(lambda state: state["frame"])
        client.say(do="add", box=[10, 10, 30, 30])
        client.say(do="play")
        state = client.until(lambda state: state["ended"])
        assert "changes from 64 x 48 to 80 x 48" in state["ended"] and state["frame"]["number"] == 1
        assert len(state["targets"]) == 1  # where they were
        client.say(do="reopen")
        state = client.until(lambda state: state["frame"] and state["frame"]["number"] == 0)
        assert state["ended"] is None and state["targets"] == []


class Noise(Video):
    """A live source: frames of noise as fast as they are taken, until there is no more."""

    live = True

    def __init__(self, count=10**9, size=(480, 640)):
        super().__init__("noise", 30.0, None)
        self._left, self._frames = count, np.random.default_rng(0).integers(0, 255, (2, *size, 3), np.uint8)

    def read(self):
        for number in range(self._left):
            time.sleep(0.004)
            yield number, self._frames[number % 2]
        raise RuntimeError("the camera was unplugged")


def test_a_live_source_is_not_held_and_its_end_is_said():
    with serve(partial(Noise, 60, (90, 120))) as console, Client(console.port) as client:
        client.until(lambda state: state["frame"])
        assert "live" in client.say(do="pause")["reason"]
        client.say(do="add", box=[20, 20, 40, 40])
        state = client.until(lambda state: state["ended"])
        assert state["ended"] == "the camera was unplugged" and state["live"] and state["fps"] is None
        assert state["frame"]["number"] + 1 + state["dropped"] >= 59
        client.say(do="reopen")
        assert client.until(lambda state: state["frame"] and not state["ended"])["live"]


def test_the_guide_s_program_runs(capsys):
    guide = (Path(__file__).parents[3] / "docs/guides/serve.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    with serve(DEMO_VIDEO) as console:
        exec(compile(code.replace("8000", str(console.port)), "serve.md", "exec"), {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and "'target': 0" in lines[1] and "'TRACKING'" in lines[-1]


def test_memory_stays_flat_with_a_viewer_that_never_reads():
    """Were the pictures queued for it, there would be 20 MB of them."""
    with serve(Noise) as console, Client(console.port) as client:
        client.until(lambda state: state["frame"])
        client.say(do="add", box=[200, 200, 90, 90])
        with socket.create_connection(("127.0.0.1", console.port)) as deaf:
            request = (
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            deaf.sendall(request.encode())
            text = b'{"do": "next", "picture": true}'
            message = bytes([0x81, 0x80 | len(text)]) + bytes(4) + text  # masked by zeros
            sizes = []
            for number in range(70):
                deaf.sendall(message)
                client.look(picture=True)
                if number >= 20:
                    sizes.append(psutil.Process(os.getpid()).memory_info().rss)
        assert max(sizes) - sizes[0] < 8e6, (sizes[0], max(sizes))
        assert client.look().state["targets"][0]["status"]
