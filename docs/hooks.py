"""What mkdocs builds: the README, docs/, and each file of the repository that these link to.

All keep their places relative to each other, so a link that works in the repository works on the site, and
mkdocs refuses one that does not. A file that is not Markdown becomes a page that lists it.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from spcnet.__main__ import make_parser

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)#:\s]+)")  # the file of a relative link, without its anchor
COPIED = (".png", ".jpg", ".webp", ".css")
STYLE = "docs/site.css"
COMMANDS = "<!-- the commands -->"  # replaced by the help of each


class Listing(File):
    """A page that shows a source file."""

    def __init__(self, path: str, config: MkDocsConfig) -> None:
        super().__init__(path, str(ROOT), config.site_dir, False, dest_uri=f"{path}.html")
        self.inclusion = InclusionLevel.NOT_IN_NAV

    def is_documentation_page(self) -> bool:
        """Yes: mkdocs would copy the file."""
        return True

    @property
    def content_string(self) -> str:
        """The file as a page in Markdown."""
        text = (ROOT / self.src_uri).read_text()
        return f"# {self.src_uri}\n\n~~~~~~ {Path(self.src_uri).suffix[1:]}\n{text}\n~~~~~~\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of the repository in the place of those that mkdocs found."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    return Files([*theme, *(_file(path, config) for path in linked())])


def linked() -> list[str]:
    """The paths, from the root, of the README, the pages of docs/, and all they link to, in turn."""
    pages = (str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    found = dict.fromkeys(["README.md", STYLE, *pages])
    for path in (waiting := list(found)):
        if not path.endswith(".md"):
            continue
        for target in LINK.findall((ROOT / path).read_text()):
            other = os.path.normpath(Path(path).parent / target)
            if other not in found and (ROOT / other).is_file():
                found[other] = None
                waiting.append(other)
    return list(found)


def _file(path: str, config: MkDocsConfig) -> File:
    if not path.endswith((".md", *COPIED)):
        return Listing(path, config)
    inclusion = InclusionLevel.INCLUDED if path.startswith("docs/") else InclusionLevel.NOT_IN_NAV
    return File(path, str(ROOT), config.site_dir, config.use_directory_urls, inclusion=inclusion)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the help of every command into the page that asks for it."""
    return markdown.replace(COMMANDS, _helps()) if COMMANDS in markdown else markdown


def _helps() -> str:
    os.environ["COLUMNS"] = "88"
    return "\n".join(_help(name, parser) for name, parser in _verbs("spcnet", make_parser()))


def _verbs(name: str, parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    """Each command that has no commands of its own, and its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return [found for verb, sub in action.choices.items() for found in _verbs(f"{name} {verb}", sub)]
    return [(name, parser)]


def _help(name: str, parser: argparse.ArgumentParser) -> str:
    return f"## {name}\n\n```text\n{parser.format_help()}```\n"
