"""A page read by Python's own parser, and a drawing read as XML."""

from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta", "input"}
PLACES = ("points", "d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy")


class Tags(HTMLParser):
    """The tags with their attributes, and the text. Fails where tags do not nest or an attribute repeats."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.all = [], [], []
        self.feed(text)
        self.close()
        assert not self.open
        self.counts = Counter(tag for tag, _ in self.all)
        self.attributes = [name for _, attributes in self.all for name in attributes]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def shapes(plot):
    """The elements of an svg by tag. Fails where a number in it is not finite."""
    found = {}
    for element in ElementTree.fromstring(plot).iter():
        found.setdefault(element.tag, []).append(element)
        for key in PLACES:
            value = element.get(key, "")
            assert "nan" not in value and "inf" not in value, (key, value)
    return found


def corners(element):
    """The points of a polyline (n, 2)."""
    return [[float(v) for v in pair.split(",")] for pair in element.get("points").split()]
