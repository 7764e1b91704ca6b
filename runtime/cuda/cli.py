"""The verb `spcnet build`: what is made ahead for a GPU."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spcnet.runtime.cli import Commands


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """build."""
    build = commands.add_parser(
        "build", help="compile the CUDA kernels ahead, for machines without a compiler"
    )
    build.add_argument("--kernels", action="store_true", required=True, help="build the CUDA kernels")
    build.add_argument(
        "--target",
        type=int,
        action="append",
        metavar="NN",
        help="compute capability without the point, such as 87 for Orin; repeat for several (default: all)",
    )
    build.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the fatbin to write (default: where the runtime looks)",
    )
    build.add_argument("--json", action="store_true", help="print the summary as JSON")
    build.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table

    from spcnet.runtime.cuda.images import build_fatbin, default_targets

    targets = options.target or default_targets()
    columns = (TextColumn("build"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("build", total=len(set(targets)) + 1)  # and one PTX
        path, built_images = build_fatbin(
            targets, options.output, on_built=lambda built: progress.advance(task)
        )
    if options.json:
        print(json.dumps({"path": str(path), "images": [built._asdict() for built in built_images]}))
        return 0
    table = Table("target", "compiler", "bytes", "seconds", box=None)
    for built in built_images:
        table.add_row(built.target, built.compiler, str(built.bytes), f"{built.seconds:.1f}")
    Console().print(table)
    print(f"wrote {path}, {path.stat().st_size} bytes")
    return 0
