"""The verb export."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from spcnet.runtime.cli import Commands


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """export."""
    export = commands.add_parser("export", help="checkpoint to the ONNX model that the runtime loads")
    export.add_argument("checkpoint", type=Path, help="checkpoint.safetensors of a training run")
    export.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.onnx", help="model to write")
    export.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="KEY=VALUE",
        help="change a field of the tracker config that does not belong to the network; repeat for several",
    )
    export.add_argument(
        "--scores", type=Path, metavar="ACCURACY.json", help="benchmark report to keep in the model"
    )
    export.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "fp16"),
        help="of the convolutions, inside the graph (default: fp32)",
    )
    export.add_argument(
        "--graphs",
        action="store_true",
        help="also write FILE.localize.onnx and FILE.learn.onnx: the whole method, for any ONNX runtime",
    )
    export.set_defaults(run=_export)


def _assignment(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _scores(path: Path, name: str) -> dict[str, Any]:
    """What a record of spcnet bench accuracy says of the tracker of this name."""
    record = json.loads(path.read_text())
    if name not in record.get("trackers", {}):
        raise ValueError(f"{path} has no scores of {name}; it has {', '.join(record.get('trackers', {}))}")
    found = record["trackers"][name]
    by_sequence = {video: round(score["auc"], 3) for video, score in found["by_sequence"].items()}
    means = {key: round(value, 4) for key, value in found["mean"].items()}
    return {
        **means,
        "sequences": record["sequences"],
        "frames": record["frames"],
        "auc_by_sequence": by_sequence,
    }


def _export(options: argparse.Namespace) -> int:
    from spcnet.export.onnx import export_onnx
    from spcnet.export.parity import check_parity

    scores = _scores(options.scores, options.out.stem) if options.scores else {}
    model = export_onnx(options.checkpoint, options.out, dict(options.set), scores, options.precision)
    parity = check_parity(options.checkpoint, options.out)
    verdict = "equal" if parity.passed else "NOT equal"
    print(
        f"{model.path}: {model.path.stat().st_size} bytes, SHA-256 {model.sha256[:16]}…\n"
        f"{verdict} to the checkpoint on {parity.patches} patches of video: relative error "
        f"{parity.relative:.1e} (allowed {parity.tolerance:.0e}), absolute {parity.max_abs:.1e}"
    )
    if options.graphs and parity.passed:
        from spcnet.export.graphs import export_graphs

        for path in export_graphs(options.out).values():
            print(f"{path}: {path.stat().st_size} bytes")
    return 0 if parity.passed else 1
