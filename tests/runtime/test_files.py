"""A file appears whole or not at all, replaces the old one only then, and only a regular one."""

import errno
import os
import threading

import pytest

from spcnet.runtime.files import check_outputs, in_words, replacing, write_bytes, write_text


def test_the_file_appears_when_it_is_whole_and_its_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with replacing(path) as aside:
        aside.write_text("whole")
        assert not path.exists() and aside.parent == path.parent and aside.suffix == ".txt"
    assert path.read_text() == "whole" and os.listdir(path.parent) == ["b.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["model.onnx"]


def test_a_full_disk_is_reported_with_the_name_that_was_asked_for(tmp_path):
    path = tmp_path / "boxes.csv"
    with pytest.raises(OSError, match=r"No space left.*boxes\.csv'$"), replacing(path) as aside:
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_reported_without_the_name_aside(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as raised:
        write_text(tmp_path / "file" / "below.txt", "")
    assert raised.value.filename == os.fspath(tmp_path / "file")
    said = in_words(raised.value)
    assert (
        said == f"{tmp_path / 'file'}: File exists; it is a file where a folder is needed; give another path"
    )


def test_a_pipe_that_cannot_be_written_is_reported_with_its_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError) as raised, replacing(tmp_path / "pipe"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (
        in_words(raised.value)
        == f"{tmp_path / 'pipe'}: No space left on device; make room there, or give another path"
    )
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_name_that_is_too_long_aside_is_reported_as_it_was_asked_for(tmp_path):
    path = tmp_path / f"{'a' * 250}.csv"
    with pytest.raises(OSError, match="File name too long") as raised:
        write_text(path, "")
    assert raised.value.filename == str(path)


def test_errors_of_our_own_stay_as_they_are():
    assert in_words(OSError("port 1 is taken")) == "port 1 is taken" and in_words(ValueError("x")) == "x"


def test_two_writers_at_once_do_not_mix(tmp_path):
    path = tmp_path / "out.bin"
    both = threading.Barrier(2, timeout=20)

    def write(letter):
        with replacing(path) as aside, aside.open("wb") as file:
            file.write(letter * 1000)
            both.wait()
            file.write(letter * 1000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in (b"a" * 2000, b"b" * 2000)


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_text(pipe, "through")
    reader.join()
    assert read == [b"through"] and pipe.is_fifo()


def test_a_link_to_a_pipe_is_written_to(tmp_path):
    read, write = os.pipe()
    (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{write}")  # as /dev/stdout is one
    write_text(tmp_path / "stdout", "through")
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "through"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"--csv": "source"}, "source is given as --csv and as the source; give --csv another name"),
        ({"--csv": "link"}, "link is given as --csv and as the source"),
        ({"--csv": "below/../new", "--jsonl": "new"}, "new is given as --jsonl and as --csv"),
        ({"--csv": "below"}, "below is a folder; give the name of a file"),
    ],
)
def test_an_output_that_is_read_or_written_already_is_refused(outputs, message, tmp_path):
    (tmp_path / "source").write_text("frames")
    (tmp_path / "link").symlink_to("source")
    (tmp_path / "below").mkdir()
    with pytest.raises((ValueError, IsADirectoryError), match=message):
        check_outputs({k: tmp_path / v for k, v in outputs.items()}, {"the source": tmp_path / "source"})


def test_a_device_may_be_given_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = tmp_path / "pipe"
    check_outputs({"--csv": pipe, "--jsonl": pipe, "--video": None}, {"the source": None, "other": pipe})


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="give the name of a file"):
        write_text(tmp_path, "")
