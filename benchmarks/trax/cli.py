"""The verb trax: a model of ours for anything that speaks TraX."""

from __future__ import annotations

import argparse

from spcnet.runtime.cli import Commands


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """trax."""
    trax = commands.add_parser("trax", help="be a TraX tracker, for the VOT toolkit and other clients")
    trax.add_argument("model", help="name in the zoo, or an .onnx file")
    trax.add_argument("--threads", type=int, default=1, help="threads to compute with (default: 1)")
    trax.set_defaults(run=_trax)


def _trax(options: argparse.Namespace) -> None:
    from spcnet.benchmarks.trax.server import serve

    serve(options.model, options.threads)
