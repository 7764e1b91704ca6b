"""The verbs export and check."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from spcnet.common import output
from spcnet.common.toml import assignment
from spcnet.runtime.cli import Commands
from spcnet.runtime.files import check_outputs


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """export, check."""
    export = commands.add_parser("export", help="checkpoint to the ONNX model that the runtime loads")
    export.add_argument(
        "checkpoint",
        type=Path,
        help="checkpoint.safetensors of a training run, or a zoo name; for --native also an .onnx model",
    )
    what = export.add_mutually_exclusive_group()
    what.add_argument("-o", "--out", type=Path, metavar="FILE", help="model to write")
    export.add_argument(
        "--native",
        action="store_true",
        help="write the model file of the C library, FILE.spcnet (default: named as the checkpoint)",
    )
    export.add_argument(
        "--cuda", action="store_true", help="with --native: also for NVIDIA GPUs, those of --target"
    )
    what.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="write everything for a device: models in all precisions, graphs, kernels, engines, checksums",
    )
    export.add_argument(
        "--target",
        type=int,
        action="append",
        metavar="NN",
        help="compute capability without the point, of a bundle's kernels and engines, or of --cuda; repeat "
        "(default: all)",
    )
    export.add_argument(
        "--set",
        action="append",
        default=[],
        type=assignment,
        metavar="KEY=VALUE",
        help="change a field of the tracker config that does not belong to the network; repeat for several",
    )
    export.add_argument(
        "--scores", type=Path, metavar="ACCURACY.json", help="benchmark report to keep in the model"
    )
    export.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "fp16", "int8"),
        help="of the convolutions, inside the graph (default: fp32)",
    )
    export.add_argument(
        "--calibrate", type=Path, metavar="TRACKS", help="for int8: tracks to take real patches from"
    )
    export.add_argument(
        "--graphs",
        action="store_true",
        help="also write FILE.localize.onnx and FILE.learn.onnx: the whole method, for any ONNX runtime",
    )
    export.set_defaults(run=_export)

    check = commands.add_parser(
        "check", help="compare ways to run a model: layers, responses, whole sequences"
    )
    check.add_argument("reference", help="what the others are compared with: a subject like OTHER")
    check.add_argument(
        "others",
        nargs="+",
        metavar="OTHER",
        help="zoo name, .onnx, .safetensors (in torch), .localize.onnx (the portable graphs), .engine, "
        "cuda:MODEL or cuda:MODEL:BACKBONE (on a GPU)",
    )
    check.add_argument(
        "--sequences",
        type=Path,
        metavar="OTB",
        help="folder with <name>/img/ and <name>/groundtruth_rect.txt",
    )
    check.add_argument(
        "--sequence", action="append", default=[], metavar="NAME", help="only this one of them; repeat"
    )
    check.add_argument("--report", type=Path, metavar="FILE.html", help="page with plots to write")
    check.add_argument("--json", action="store_true", help="print the record as JSON")
    check.set_defaults(run=_check)


def _scores(path: Path, name: str) -> dict[str, Any]:
    """The scores of one tracker in a record of spcnet bench accuracy."""
    record = output.read(path, "give --scores the accuracy.json of spcnet bench accuracy")
    try:
        if name not in record["trackers"]:
            has = ", ".join(record["trackers"]) or "those of no tracker"
            raise ValueError(f"{path} has no scores of {name}; it has {has}")
        found = record["trackers"][name]
        if None in found["mean"].values():
            raise ValueError(f"{path} has no scores of {name}, which failed; run spcnet bench accuracy again")
        by_sequence = {video: round(score["auc"], 3) for video, score in found["by_sequence"].items()}
        means = {key: round(value, 6) for key, value in found["mean"].items()}
        return {
            **means,
            "sequences": record["sequences"],
            "frames": record["frames"],
            "auc_by_sequence": by_sequence,
        }
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is no record of spcnet bench accuracy ({error!r}); give --scores an accuracy.json"
        ) from None


def _export(options: argparse.Namespace) -> int:
    if options.native:
        return _native(options)
    from spcnet.runtime.model import find_checkpoint

    options.checkpoint = find_checkpoint(options.checkpoint)
    if options.cuda:
        raise ValueError("--cuda is for the model of the C library; add --native, or leave it out")
    if not options.bundle and not options.out:
        raise ValueError("nothing to write is named; give -o FILE.onnx, --bundle DIR or --native")
    if options.bundle:
        if options.graphs or options.precision != "fp32":
            raise ValueError(
                "--bundle writes the graphs and all precisions; leave out --graphs and --precision"
            )
        return _bundle(options)
    if options.target:
        raise ValueError("--target is for the GPU files of a --bundle; spcnet build makes an engine alone")
    if options.precision == "int8" and not options.calibrate:
        raise ValueError("--precision int8 needs tracks to take real patches from; give --calibrate TRACKS")
    if options.calibrate and options.precision != "int8":
        raise ValueError(f"--calibrate is for int8, and --precision is {options.precision}; leave one out")
    inputs = {"the checkpoint": options.checkpoint, "--scores": options.scores}
    check_outputs({"--out": options.out}, inputs)
    from spcnet.export.parity import export_checked

    scores = _scores(options.scores, options.out.stem) if options.scores else {}
    model, parity = export_checked(
        options.checkpoint, options.out, dict(options.set), scores, options.precision, options.calibrate
    )
    print(
        f"{options.out}: {options.out.stat().st_size} bytes, SHA-256 {model.sha256[:16]}…\n"
        f"equal to the checkpoint {parity}"
    )
    if options.graphs:
        from spcnet.export.graphs import export_graphs

        for path in export_graphs(options.out).values():
            print(f"{path}: {path.stat().st_size} bytes")
    return 0


def _native(options: argparse.Namespace) -> int:
    for name in ("bundle", *(() if options.cuda else ("target",)), "scores", "calibrate", "graphs"):
        if getattr(options, name):
            raise ValueError(f"--{name} is not for the model of the C library; leave it or --native out")
    if options.precision != "fp32":
        raise ValueError(f"--native writes fp32, and --precision is {options.precision}; leave one out")
    from spcnet.export.native import export_native
    from spcnet.runtime.cuda.images import default_targets
    from spcnet.runtime.model import NATIVE_SUFFIX

    target = options.out or Path(options.checkpoint.stem + NATIVE_SUFFIX)
    check_outputs({"--out": target}, {"the checkpoint": options.checkpoint})
    gpus = (options.target or default_targets()) if options.cuda else ()
    checked = export_native(options.checkpoint, target, dict(options.set), gpus)
    print(f"{target}: {target.stat().st_size} bytes\n{checked}")
    return 0


def _bundle(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from spcnet.export.bundle import make_bundle
    from spcnet.runtime.progress import bar

    scores = {}
    if options.scores:
        names = output.read(options.scores, "give --scores the accuracy.json of spcnet bench accuracy")
        scores = {name: _scores(options.scores, name) for name in names.get("trackers", {})}
    table = Table("", "seconds", "bytes", "files", "", box=None)
    with bar(description="bundle", transient=True) as report:
        made = make_bundle(
            options.checkpoint,
            options.bundle,
            calibrate=options.calibrate,
            targets=options.target,
            overrides=dict(options.set),
            scores=scores,
            on_made=lambda step: report(f"bundle: {step.name}", 1),
        )
    for step in made:
        numbers = (
            (f"{step.seconds:.1f}", str(step.bytes), str(len(step.files))) if step.files else ("", "", "")
        )
        table.add_row(step.name, *numbers, step.note)
    Console().print(table)
    print(
        f"wrote {options.bundle}, {sum(step.bytes for step in made)} bytes in "
        f"{sum(s.seconds for s in made):.0f} s"
    )
    return 0


def _check(options: argparse.Namespace) -> int:
    from rich.console import Console

    from spcnet.common.clips import DEMO, Clip
    from spcnet.common.suites import open_data
    from spcnet.export.check import check
    from spcnet.export.check_page import write_page
    from spcnet.export.check_text import record, tables, verdict
    from spcnet.export.subjects import open_subject
    from spcnet.runtime.progress import bar

    if options.sequence and not options.sequences:
        raise ValueError(f"--sequence {options.sequence[0]} is in no folder; give --sequences OTB too")
    words = ["spcnet", "check", options.reference, *options.others]
    given = {name: Path(name) for name in (options.reference, *options.others)}
    check_outputs({"--report": options.report}, given)
    clips = [DEMO]
    if options.sequences:
        words += ["--sequences", str(options.sequences)]
        words += [word for name in options.sequence for word in ("--sequence", name)]
        clips += map(Clip.of, open_data(options.sequences, names=tuple(options.sequence)))
    reference, *others = map(open_subject, (options.reference, *options.others))
    with bar(sum(clip.count for clip in clips), "layers") as progress:
        found = check(reference, others, clips, lambda clip: progress(clip, 1))
    command = shlex.join(words)
    if options.report:
        write_page(options.report, found, command)
    if options.json:
        print(json.dumps(record(found, command), allow_nan=False))
    else:
        Console().print(*tables(found), sep="\n")
        print("", *verdict(found), sep="\n")
    return 0 if found.passed else 1
