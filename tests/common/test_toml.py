"""The one rule for the values of --set: as a config file has them, or JSON, or else text."""

import argparse
import math

import pytest

from spcnet.common.toml import assignment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=0.02", 0.02),
        ("a.b=3", 3),
        ("a.b=true", True),
        ("a.b=inf", math.inf),
        ("a.b=null", None),
        ("a.b=cuda", "cuda"),
        ('a.b="cuda"', "cuda"),
        ("a.b=data/x=y", "data/x=y"),
        ("a.b=", ""),
        ("a.b=[1, 2.5]", [1, 2.5]),
        ("a.b=[{ steps = 20 }, { steps = 3, scales = 1 }]", [{"steps": 20}, {"steps": 3, "scales": 1}]),
        ('a.b=[{"steps": 20}]', [{"steps": 20}]),
        ('a.b={"x": null}', {"x": None}),
        ("a.b=Infinity", "Infinity"),  # not JSON: refused where a number is needed
        ("a.b=1\nc = 2", "1\nc = 2"),
        ("a.b=" + "9" * 5000, "9" * 5000),  # more digits than Python reads
    ],
)
def test_values(text, value):
    assert assignment(text) == ("a.b", value)


BAD = ("ab", "=3", "a=[{ steps = }]", 'a={"x": 1', "a=[1, NaN]", 'a="x', "a=" + "[" * 9999)


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:20])
def test_what_is_no_value_is_refused_by_its_words(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not KEY=VALUE|neither TOML .* nor JSON"):
        assignment(text)
