"""Print how large the project is: lines by folder, and how long files and functions are.

python tests/size.py
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
FOLDERS = ("runtime", "common", "training", "export", "benchmarks", "examples", "tests")
SUFFIXES = {".py", ".cu", ".cuh", ".c", ".h", ".css", ".js", ".html"}


def sources(folder: str) -> dict[str, list[str]]:
    """The lines of every source file by its name."""
    paths = sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES and "results" not in p.parts)
    return {p.relative_to(ROOT).as_posix(): p.read_text().splitlines() for p in paths}


def functions(files: dict[str, list[str]]) -> dict[str, int]:
    """The lines of every function of Python by file and name."""
    return {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, lines in files.items()
        if name.endswith(".py")
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.FunctionDef)
    }


def spread(what: str, lengths: dict[str, int]) -> str:
    """Median, 90th percentile and the longest."""
    longest = max(lengths, key=lambda name: lengths[name])
    median, late = np.percentile(list(lengths.values()), (50, 90))
    return f"{what:>22}: median {median:.0f}, p90 {late:.0f}, longest {lengths[longest]} ({longest})"


def main() -> None:
    total = 0
    for folder in FOLDERS:
        files = sources(folder)
        lines = sum(map(len, files.values()))
        total += lines
        print(f"{folder:>12} {lines:6} lines in {len(files):3} files")
    print(f"{'all':>12} {total:6} lines")
    for what, folders in (("source", FOLDERS[:-1]), ("tests", FOLDERS[-1:])):
        files = {name: lines for folder in folders for name, lines in sources(folder).items()}
        print(spread(f"files of {what}", {name: len(lines) for name, lines in files.items()}))
        print(spread(f"functions of {what}", functions(files)))


if __name__ == "__main__":
    main()
