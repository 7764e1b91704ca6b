"""A page read by Python's own parser."""

from html.parser import HTMLParser

VOID = {"meta", "input"}


class Tags(HTMLParser):
    """Fails where tags do not nest; counts them, keeps the text, and every tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.words, self.attributes, self.all = [], {}, [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes += [name for name, _ in attrs]
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.all.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes += [name for name, _ in attrs]
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
