"""The verb bench vot."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from spcnet.benchmarks.vot.stacks import BOTH
from spcnet.runtime.cli import Commands


def add_vot(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench vot."""
    vot = kinds.add_parser("vot", help="a workspace for the vot-toolkit, with our models as its trackers")
    vot.add_argument("data", type=Path, help="data set of VOT, or a folder that bench accuracy reads")
    vot.add_argument("workspace", type=Path, help="folder to make; one that is the same goes on where it was")
    vot.add_argument(
        "--tracker",
        action="append",
        metavar="NAME",
        help="zoo name, .onnx file or trax:COMMAND LINE; LABEL= before it names it; repeat (default: base)",
    )
    vot.add_argument(
        "--stack", default=BOTH, help=f"{BOTH} (the default), vot2015, or any other that the toolkit has"
    )
    vot.add_argument(
        "--fps", type=int, default=30, help="rate of cameras that VOT knows nothing of (default: 30)"
    )
    vot.add_argument("--threads", type=int, default=1, help="threads of our models (default: 1)")
    vot.add_argument("--allow-missing", action="store_true", help="take a part of VOT2015 for its stack")
    vot.add_argument(
        "--run",
        metavar="VOT",
        dest="executable",
        help="evaluate, analyse and report with this executable vot",
    )
    vot.add_argument("--json", action="store_true", help="print the record as JSON")
    vot.set_defaults(run=_vot)


def _vot(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.vot import run, workspace

    made = workspace.make(
        options.data,
        options.workspace,
        options.tracker or ["base"],
        options.stack,
        options.fps,
        options.threads,
        options.allow_missing,
    )
    record: dict[str, Any] = {
        "workspace": str(made.folder),
        "trackers": made.trackers,
        "sequences": made.sequences,
    }
    if options.executable:
        run.run(options.executable, made.folder, made.trackers)
        record["experiments"] = run.read(made.folder)
        report = made.folder / "reports" / run.NAME / "report.html"
        text = f"{run.markdown(record['experiments'])}\nwrote {report}"
    else:
        where = f"--workspace {shlex.quote(str(made.folder))} {' '.join(made.trackers)}"
        text = f"made {made.folder} with {len(made.sequences)} sequences; next\n" + "\n".join(
            f"vot {step} {where}" for step in ("evaluate", "analysis", "report --format html")
        )
    print(json.dumps(record) if options.json else text)
    return 0
