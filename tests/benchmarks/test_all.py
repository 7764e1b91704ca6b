"""The verb bench all: command lines that the other verbs understand, and an end where one is refused."""

import argparse

import pytest

from spcnet.__main__ import main
from spcnet.benchmarks import all as all_verbs
from spcnet.benchmarks.cli import add_commands
from spcnet.runtime.model import zoo


def parse(*words):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    return parser.parse_args(["bench", *map(str, words)])


def test_every_step_is_a_command_line_of_its_verb(tmp_path):
    words = ("--tracker", "mine=base", "--tracker", "kcf", "--tracker", "other=trax:run it", "--jobs", "2")
    options = parse("all", "OTB", *words, "--suite", "otb2013", "--no-frames", "-o", tmp_path)
    accuracy, speed, roofline, report = (parse(*step) for step in all_verbs.steps(options))
    assert accuracy.tracker == speed.tracker == ["mine=base", "kcf", "other=trax:run it"]
    assert (str(accuracy.data), accuracy.suite, accuracy.jobs) == ("OTB", "otb2013", 2)
    assert roofline.tracker == ["base"]  # counts are of models, by their files
    assert accuracy.out == speed.out == roofline.out == report.results == tmp_path
    assert report.no_frames and report.out == tmp_path / "report.html"


def test_without_names_it_is_the_zoo_and_its_peers_and_without_models_there_is_no_roofline():
    accuracy, *_ = (parse(*step) for step in all_verbs.steps(parse("all", "OTB")))
    assert accuracy.tracker == [*zoo(), "kcf", "csrt", "mosse", "medianflow"]
    peers = all_verbs.steps(parse("all", "OTB", "--tracker", "kcf"))
    assert [step[0] for step in peers] == ["accuracy", "speed", "report"]


@pytest.mark.parametrize("data", ["absent", "."])
def test_what_is_refused_ends_it(tmp_path, capfd, data):
    assert main(["bench", "all", str(tmp_path / data), "--tracker", "nano", "-o", str(tmp_path / "out")]) == 2
    refused = capfd.readouterr().err
    assert "no sequence" in refused or "no folder" in refused
    assert not (tmp_path / "out" / "speed.json").exists()
