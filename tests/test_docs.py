"""The site is built of what is in the repository, and every link of it leads somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag

import pytest

ROOT = Path(__file__).parent.parent


class Links(HTMLParser):
    """The targets of links and what the page loads, and the names that links may end in."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.names = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names |= {found.get("id"), found.get("name")}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("link", "script", "img", "iframe"):
            self.loaded += [found[key] for key in ("href", "src") if key in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return {
        path.relative_to(folder).as_posix(): Links(path.read_text()) for path in folder.rglob("*.html")
    }, folder


def test_every_link_leads_to_a_page_and_a_place_on_it(site):
    pages, folder = site
    for name, page in pages.items():
        if name == "404.html":
            continue
        for link in page.links:
            path, place = urldefrag(link)
            if re.match(r"\w+:", path):
                continue
            there = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            there = there if (folder / there).is_file() else os.path.join(there, "index.html")
            assert (folder / there).is_file(), (name, link)
            assert not place or place in pages[there].names, (name, link)


def test_nothing_is_fetched_from_elsewhere(site):
    pages, _ = site
    loaded = [(name, link) for name, page in pages.items() for link in page.loaded]
    assert loaded and not [(name, link) for name, link in loaded if re.match(r"(\w+:)?//", link)]


def test_the_reference_has_every_public_name_and_every_command(site):
    import spcnet
    from spcnet.__main__ import make_parser

    pages, folder = site
    names = {str(name).rsplit(".", 1)[-1] for name in pages["docs/reference/python.html"].names}
    names |= {str(name).rsplit(".", 1)[-1] for name in pages["docs/reference/model.html"].names}
    assert set(spcnet.__all__) <= names
    commands = pages["docs/reference/commands.html"].names
    (verbs,) = (action.choices for action in make_parser()._actions if isinstance(action.choices, dict))
    assert all(any(str(name).startswith(f"spcnet-{verb}") for name in commands) for verb in verbs)
    header = (folder / "runtime" / "native" / "include" / "spcnet.h.html").read_text()
    assert "spcnet_update" in header and "spcnet.h" in header
