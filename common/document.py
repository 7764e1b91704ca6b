"""Pieces of an HTML page that is one file and needs nothing else. All text is escaped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from spcnet.common.drawing import clean

_STYLE = Path(__file__).with_name("document.css")


def document(title: str, body: Iterable[str], style: str = "", script: str = "") -> str:
    """The whole page; style is added to the common style sheet."""
    # The browser itself refuses whatever would be fetched.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{clean(title)}</title><style>{_STYLE.read_text('utf-8')}{style}</style></head>\n<body>"
        + "\n".join(body)
        + (f"<script>{script}</script>" if script else "")
        + "</body></html>\n"
    )


def section(title: str, *parts: str, key: str = "") -> str:
    """A card; key is what links name it by."""
    place = f' id="{key}"' if key else ""
    return f"<section{place}><h2>{clean(title)}</h2>{''.join(parts)}</section>"


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{kind}">{clean(words)}</p>' if kind else f"<p>{clean(words)}</p>"


def note(title: str, sentences: Iterable[str]) -> str:
    """A list of warnings that stands out."""
    items = "".join(f"<li>{clean(sentence)}</li>" for sentence in sentences)
    return f'<aside class="note" role="note"><strong>{clean(title)}</strong><ul>{items}</ul></aside>'


def figure(caption: str, *parts: str, kind: str = "") -> str:
    return f'<figure class="{kind}"><figcaption>{clean(caption)}</figcaption>{"".join(parts)}</figure>'


def details(*parts: str, summary: str = "Numbers") -> str:
    return f"<details><summary>{clean(summary)}</summary>{''.join(parts)}</details>"


class Cell(NamedTuple):
    """A cell of a table with a class of the style sheet."""

    words: str
    kind: str = ""


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    numbers: Collection[int] | None = None,
) -> str:
    """A table in a box that scrolls by itself.

    numbers: the columns that are aligned right, by default all but the first.
    Words after a line break in a cell are written small below the rest.
    """
    right = range(1, len(header)) if numbers is None else numbers

    def row(cells: Sequence[str | Cell], first: str, tag: str) -> str:
        inner = []
        for index, given in enumerate(cells):
            cell = given if isinstance(given, Cell) else Cell(given)
            kind = " ".join(filter(None, ("number" if index in right else "", cell.kind)))
            attributes = f' class="{kind}"' if kind else ""
            name = first if index == 0 else tag
            value, _, more = cell.words.partition("\n")
            small = f"<small>{clean(more)}</small>" if more else ""
            inner.append(f"<{name}{attributes}>{clean(value)}{small}</{name.split()[0]}>")
        return f"<tr>{''.join(inner)}</tr>"

    head = f"<thead>{row(header, 'th', 'th')}</thead>" if any(header) else ""
    body = "".join(row(cells, 'th scope="row"', "td") for cells in rows)
    # Reached by Tab, so that the arrow keys can scroll it.
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{clean(caption)}">'
        f"<table>{head}<tbody>{body}</tbody></table></div>"
    )
