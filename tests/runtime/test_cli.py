import json
import os
import signal
import subprocess
import sys
import time

import cv2
import pytest
from processes import python

from spcnet.__main__ import main
from spcnet.runtime.cuda import available, compiler
from spcnet.runtime.run import DEMO_VIDEO


@pytest.fixture
def folder(tmp_path, video):
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(video[0][:8]):
        cv2.imwrite(str(tmp_path / "frames" / f"{index:03d}.png"), frame)
    return tmp_path


def test_track_writes_what_was_asked_for(folder, video, tiny_model, capsys):
    box = ",".join(f"{v:g}" for v in video[1][0])
    arguments = ["track", str(folder / "frames"), "--box", box, "--model", str(tiny_model), "--json"]
    outputs = {"--video": "out.avi", "--csv": "out.csv", "--jsonl": "out.jsonl"}
    for option, name in outputs.items():
        arguments += [option, str(folder / name)]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == 8 and len(summary["written"]) == 3
    assert all((folder / name).stat().st_size > 100 for name in outputs.values())


@pytest.mark.parametrize("source", ("frames", "frames/*.png"))
def test_no_image_of_the_source_is_replaced(source, folder, video, tiny_model, capsys):
    image = folder / "frames" / "005.png"
    before = image.read_bytes()
    box = ",".join(f"{v:g}" for v in video[1][0])
    arguments = ["track", str(folder / source), "--box", box, "--model", str(tiny_model)]
    assert main([*arguments, "--csv", str(image)]) == 2 and image.read_bytes() == before
    assert (
        "005.png is given as --csv and as frame 5 of the source; give --csv another"
        in capsys.readouterr().err
    )
    beside = folder / "frames" / "out.csv"
    assert [main([*arguments, "--csv", str(beside)]) for _ in range(2)] == [0, 0]


def test_a_source_that_breaks_off_is_status_1(folder, video, tiny_model, capsys):
    cv2.imwrite(str(folder / "frames" / "005.png"), video[0][0][:99, :99])
    box = ",".join(f"{v:g}" for v in video[1][0])
    arguments = ["track", str(folder / "frames"), "--box", box, "--model", str(tiny_model)]
    assert main([*arguments, "--csv", str(folder / "out.csv")]) == 1
    captured = capsys.readouterr()
    assert "what was tracked before is kept" in captured.err and "5 frames" in captured.out
    assert len((folder / "out.csv").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["track", "missing.mp4", "--box", "1,2,3,4"], "no video missing.mp4"),
        (["track", str(DEMO_VIDEO), "--box", "1,2,0,4"], "positive width and height"),
        (["track", str(DEMO_VIDEO), "--box", "5000,2,10,4"], "outside the frame"),
        (["track", str(DEMO_VIDEO), "--box", "1,2,3,4", "--model", "none"], "no model named 'none'"),
        (
            ["track", str(DEMO_VIDEO), "--box", "1,2,3,4", "--csv", "a", "--jsonl", "a"],
            "a is given as --jsonl and as --csv",
        ),
        (
            ["track", str(DEMO_VIDEO), "--box", "1,2,3,4", "--video", str(DEMO_VIDEO)],
            "is given as --video and as the source",
        ),
        (["info", "none"], "no model named 'none'"),
        (["export", "missing.safetensors", "-o", "out.onnx"], "no checkpoint at missing.safetensors"),
        (["train", "missing.toml"], "no training config missing.toml"),
        (["bench", "accuracy", "missing"], "no folder missing"),
        (["bench", "speed", "--video", "x.mp4"], "--video and --box go together"),
    ],
)
def test_refusals_are_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("spcnet: ") and message in lines[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "verb",
    ["prepare x.toml -o y", "validate x.toml base", "bench accuracy x", "bench all x", "bench confidence x"],
)
@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_no_process_is_no_number_of_processes(verb, count, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([*verb.split(), "--jobs", count])
    assert stop.value.code == 2 and not list(tmp_path.iterdir())
    assert f"argument --jobs: '{count}' is not a whole number of at least 1" in capsys.readouterr().err


def test_info_prints_config_and_provenance(tiny_model, capsys):
    assert main(["info", str(tiny_model)]) == 0
    text = capsys.readouterr().out
    for word in ("patch_size", "49", "provenance", "sha256", "kind local_response_norm, size 5"):
        assert word in text
    assert main(["info", str(tiny_model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["channels"] == 4


def test_help_and_import_need_neither_torch_nor_a_gpu():
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'pycuda', 'tensorrt', 'safetensors', 'tensorboard', "
        "'threadpoolctl'):\n"
        "    sys.modules[name] = None\n"
        "import spcnet.runtime\n"
        "from spcnet.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert main(['train', 'x.toml']) == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "track" in done.stdout and "needs the package torch; pip install 'spcnet[train]'" in done.stderr


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_ctrl_c_and_what_stops_a_service_keep_what_was_tracked(number, tmp_path):
    command = [sys.executable, "-m", "spcnet", "demo", str(tmp_path), "--model", "c32-125"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        aside = next(tmp_path.glob(".tracked.*"), None)  # grows once the writer has some frames together
        if aside and aside.stat().st_size > 50_000:
            break
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted; what was tracked before is kept" in errors
    rows = (tmp_path / "boxes.csv").read_text().splitlines()
    assert 5 < len(rows) < 133
    (video,) = tmp_path.glob("tracked.*")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["boxes.csv", "boxes.jsonl", video.name]
    capture = cv2.VideoCapture(str(video))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(rows) - 1


IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "numpy":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000): pass
            except KeyboardInterrupt:
                pass
            raise ImportError("import numpy failed")  # as the modules of C++ say it
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder)
from spcnet.__main__ import main
sys.exit(main(["info"]))
"""


def test_ctrl_c_while_libraries_are_imported_is_said_in_a_line():
    done = python(IMPORTING)
    assert (done.returncode, done.stderr) == (2, "spcnet: interrupted\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf8_shows_what_it_can(encoding):
    code = "import sys; from spcnet.__main__ import main; sys.exit(main(['doctor']))"
    done = python(code, env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "? " in done.stdout and "platform" in done.stdout


def test_a_box_may_begin_outside_the_frame(folder, tiny_model, capsys):
    arguments = ["track", str(folder / "frames"), "--model", str(tiny_model), "--box", "-4,-2.5,60,60"]
    assert main([*arguments, "--jsonl", str(folder / "out.jsonl")]) == 0
    first = json.loads((folder / "out.jsonl").read_text().splitlines()[0])
    assert [first[key] for key in "xywh"] == [-4, -2.5, 60, 60]


def test_a_gpu_that_is_asked_for_and_missing_is_said(monkeypatch, capsys, tmp_path):
    from spcnet.runtime.cuda import available

    monkeypatch.setattr(available, "missing", lambda *a, **k: "there is no NVIDIA driver")
    assert main(["demo", str(tmp_path / "demo"), "--backend", "cuda"]) == 2
    assert capsys.readouterr().err == "spcnet: backend 'cuda' cannot run: there is no NVIDIA driver\n"
    assert not (tmp_path / "demo").exists()


def test_a_source_of_one_frame_gives_standard_json(folder, video, tiny_model, capsys):
    def refuse(constant):
        raise AssertionError(f"{constant} is not standard JSON")

    for path in sorted((folder / "frames").iterdir())[1:]:
        path.unlink()
    box = ",".join(f"{v:g}" for v in video[1][0])
    assert main(["track", str(folder / "frames"), "--box", box, "--model", str(tiny_model), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (summary["frames"], summary["fps"]) == (1, None)


@pytest.mark.parametrize("verb", ["track", "doctor"])
def test_too_small_an_address_space_is_said(verb):
    """NumPy, OpenCV or ONNX Runtime would end the process by a signal."""
    code = (
        "import resource, sys; from spcnet.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20)); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "spcnet: the address space is limited to 500 MiB, at least 1024 MiB are needed; "
        "raise it by ulimit -v\n"
    )


def test_without_a_command_the_first_ones_are_shown(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out.splitlines()
    commands = [line.split()[1] for line in shown if line.startswith("spcnet ") and "--help" not in line]
    assert commands == ["demo", "track", "doctor", "info", "export"]
    for command in commands:
        with pytest.raises(SystemExit, match=r"^0$"):
            main([command, "--help"])


def test_the_summary_says_where_it_ran(folder, tiny_model, capsys, monkeypatch):
    arguments = ["track", str(folder / "frames"), "--model", str(tiny_model), "--box", "10,10,30,30"]
    assert main([*arguments, "--backend", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["backend"], told["threads"]) == (str(tiny_model), "cpu", 1)
    gpu = available.Gpu("Orin", (8, 7), True, 8 << 30)
    monkeypatch.setattr(available, "ask_driver", lambda library: available.DriverInfo((12, 6), "", (gpu,)))
    monkeypatch.setattr(compiler, "usable", lambda: iter([]))
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"model {tiny_model}   backend native   threads 1\n")
    assert told.err.startswith("spcnet: the GPU was not used: no compiler makes sm_87 code")


def tracked(folder, *words):
    """The exit status of tracking the frames of the folder, and the lines of the results."""
    out = folder / "part.jsonl"
    out.unlink(missing_ok=True)
    status = main(["track", str(folder / "frames"), "--box", "10,10,30,30", "--jsonl", str(out), *words])
    return status, [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def test_a_part_of_a_video_is_tracked(folder, tiny_model, capsys):
    model = ("--model", str(tiny_model))
    count = len(tracked(folder, *model)[1])
    status, lines = tracked(folder, *model, "--start", "1", "--stride", "2", "--max-frames", "2")
    assert status == 0 and [line["frame"] for line in lines] == [1, 3]
    assert [lines[0][key] for key in "xywh"] == [10, 10, 30, 30]
    assert [line["frame"] for line in tracked(folder, *model, "--stride", "4")[1]] == [*range(0, count, 4)]
    assert tracked(folder, *model, "--start", str(count)) == (2, [])
    assert f"has no frame {count} or later; give another source or start" in capsys.readouterr().err
    for wrong in (("--stride", "0"), ("--max-frames", "0"), ("--start", "-1")):
        with pytest.raises(SystemExit, match="2"):
            tracked(folder, *model, *wrong)


def test_a_box_that_reaches_beyond_the_frame_is_said(folder, tiny_model, capsys):
    arguments = ["track", str(folder / "frames"), "--model", str(tiny_model), "--box", "10,10,30,30"]
    assert main([*arguments, "--box", "200,100,130.5,150"]) == 0
    (told,) = (line for line in capsys.readouterr().err.splitlines() if "--box" in line)
    assert told == (
        "spcnet: --box 200,100,130.5,150 reaches beyond the frame of 320 x 240 px, by 10.5 px at the right "
        "and 10 px at the bottom; a box is x,y,width,height"
    )


@pytest.mark.parametrize(("text", "found"), [("6,166,42", "has 3 numbers"), ("a,1,2,3", "is not X,Y,W,H")])
def test_a_box_of_other_than_four_numbers_is_refused(text, found, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["track", "x.mp4", "--box", text])
    told = capsys.readouterr().err
    assert (
        f"'{text}' {found}; give 4 numbers with commas, without blanks: x,y,width,height, such as 10,20,50,60"
        in told
    )


@pytest.mark.parametrize(("words", "near"), [("trak", "track"), ("bench acuracy", "accuracy")])
def test_the_nearest_command_is_named(words, near, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert capsys.readouterr().err.endswith(f"; did you mean {near}?\n")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("track x.mp4 --box 1,2,3,4 --vidoe out.mp4", "--video"),
        ("doctor --jsn", "--json"),
        ("bench accuracy x --trakcer=base", "--tracker"),
    ],
)
def test_the_nearest_option_of_the_command_is_named(words, near, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    told = capsys.readouterr().err
    assert told.endswith(f"; did you mean {near}?\n") and f"usage: spcnet {words.split()[0]} " in told


def test_what_the_system_refuses_is_told_with_what_to_do(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["demo", str(tmp_path / "file")]) == 2
    said = "File exists; it is a file where a folder is needed; give another path"
    assert capsys.readouterr().err.endswith(f"spcnet: {tmp_path / 'file'}: {said}\n")


@pytest.mark.parametrize("unread", ["stdout", "stderr"])
def test_output_that_nobody_reads_on_ends_quietly(unread):
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, unread: write}
    words = ["info", "nano" if unread == "stdout" else "none"]
    done = subprocess.run([sys.executable, "-m", "spcnet", *words], **streams, check=False)
    os.close(write)
    assert done.returncode == 141 and not done.stdout and not done.stderr
