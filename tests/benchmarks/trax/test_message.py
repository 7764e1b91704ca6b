import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcnet.benchmarks.trax.message import KINDS, Message, decode, encode

TEXT = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=40)
ARGUMENT = TEXT.filter(lambda text: "=" not in text)  # a key and "=" make a property
KEY = st.from_regex(r"[A-Za-z0-9._]{1,64}", fullmatch=True)


@given(st.sampled_from(KINDS), st.lists(ARGUMENT), st.dictionaries(KEY, TEXT))
def test_what_is_encoded_is_decoded(kind, arguments, properties):
    line = encode(kind, arguments, properties)
    assert line.endswith(b"\n") and b"\n" not in line[:-1]
    assert decode(line[:-1]) == Message(kind, tuple(arguments), properties)


@pytest.mark.parametrize(
    "line, message",
    [
        (b'@@TRAX:state "1,2,3,4" "a=b" ', Message("state", ("1,2,3,4",), {"a": "b"})),
        (b"@@TRAX:STATUS 1,2,3,4 a=b\r", Message("state", ("1,2,3,4",), {"a": "b"})),
        (b"@@TRAX:quit", Message("quit")),
        (b'@@TRAX:frame "file:///a \\"b\\"\\\\c\\n"', Message("frame", ('file:///a "b"\\c\n',))),
        (b'@@TRAX:frame "data:image/png;AA=="', Message("frame", ("data:image/png;AA==",))),
        (b'@@TRAX:state "x=1=2" ""', Message("state", ("",), {"x": "1=2"})),
        (b"@@TRAX:dance 1", None),
        (b"@@TRAX:", None),
        (b" @@TRAX:quit", None),
        (b"loading", None),
        (b"\xff\xfe\x00", None),
        (b"", None),
    ],
)
def test_lines_by_hand(line, message):
    assert decode(line) == message


@given(st.binary(max_size=80))
def test_no_line_breaks_it(tail):
    decode(tail)
    decode(b"@@TRAX:state " + tail)
