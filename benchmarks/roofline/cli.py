"""The verb bench roofline."""

from __future__ import annotations

import argparse
import json
import shlex
import sys

from spcnet.benchmarks.options import add_output
from spcnet.runtime.cli import Commands


def add_roofline(kinds: Commands[argparse.ArgumentParser]) -> None:
    """Declare bench roofline."""
    roofline = kinds.add_parser(
        "roofline", help="what a frame costs, and what share of this machine's peaks each stage reaches"
    )
    roofline.add_argument(
        "--tracker", action="append", metavar="NAME", help="zoo name or .onnx file; repeat (default: the zoo)"
    )
    roofline.add_argument(
        "--backend", default="cpu", choices=("cpu", "native"), help="native is the C library (default: cpu)"
    )
    roofline.add_argument("--threads", type=int, default=1, help="threads of the CPU (default: 1)")
    add_output(roofline)
    roofline.set_defaults(run=_roofline)


def _roofline(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.roofline import run, tables
    from spcnet.common import output
    from spcnet.runtime.model import zoo
    from spcnet.runtime.run import DEMO_VIDEO, FACE_BOX
    from spcnet.runtime.video import open_video

    names = list(dict.fromkeys(options.tracker or zoo()))
    with open_video(str(DEMO_VIDEO)) as video:
        frames = list(video)
    measured = run.measure(names, frames, FACE_BOX, options.threads, backend=options.backend)
    record = {"command": shlex.join(["spcnet", *sys.argv[1:]]), **measured}
    markdown = tables.markdown(record)
    output.write(options.out, "roofline", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0
