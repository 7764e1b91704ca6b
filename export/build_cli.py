"""The verb build: what is made on the device, or ahead for it: engines and compiled kernels."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from spcnet.runtime.cli import Commands

if TYPE_CHECKING:
    from spcnet.export.build_options import BuildOptions


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """build."""
    build = commands.add_parser(
        "build", help="a model to a TensorRT engine; a bundle made ready on its device; the CUDA kernels"
    )
    build.add_argument(
        "model", nargs="?", help="name of the zoo, .onnx file, or the folder of a bundle on its device"
    )
    build.add_argument(
        "--kernels", action="store_true", help="compile the CUDA kernels, for devices without a compiler"
    )
    build.add_argument(
        "--target",
        type=int,
        action="append",
        metavar="NN",
        help="compute capability without the point, such as 87 for Orin; repeat for several (default: "
        "kernels for all, an engine for the GPU here)",
    )
    build.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the engine (default: NAME.engine here) or fatbin (default: where the runtime looks) to write",
    )
    build.add_argument("--json", action="store_true", help="print the summary as JSON")
    engine = build.add_argument_group("engines")
    engine.add_argument(
        "--flavour", help="tensorrt or tensorrt_rtx (default: the one installed, tensorrt first)"
    )
    engine.add_argument(
        "--max-targets", type=int, default=32, metavar="T", help="tracked at once (default: 32)"
    )
    engine.add_argument(
        "--workspace",
        type=int,
        metavar="MIB",
        help="memory for tactics (default: 1024; tensorrt_rtx chooses)",
    )
    engine.add_argument(
        "--level", type=int, default=3, help="of the builder's optimisation, 0 to 5 (default: 3)"
    )
    engine.add_argument(
        "--hardware",
        default="exact",
        help="exact, same_compute_capability or ampere_plus: the GPUs it runs on (default: exact)",
    )
    engine.add_argument(
        "--version-compatible", action="store_true", help="also for later TensorRT; holds code for the CPU"
    )
    engine.add_argument(
        "--dla", type=int, metavar="CORE", help="on this core of the deep learning accelerator"
    )
    build.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> int:
    if options.kernels == (options.model is not None):
        raise ValueError("spcnet build takes a model, a bundle, or --kernels: give one of them")
    if options.kernels:
        return _kernels(options)
    return _engines(options)


def _kernels(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from spcnet.runtime.cuda.images import build_fatbin, default_targets
    from spcnet.runtime.progress import bar

    targets = options.target or default_targets()
    count = len(set(targets)) + 1  # and one PTX
    with bar(count, "build", transient=True) as report:
        path, images = build_fatbin(targets, options.output, on_built=lambda image: report(image.target, 1))
    if options.json:
        print(json.dumps({"path": str(path), "images": [image._asdict() for image in images]}))
        return 0
    table = Table("target", "compiler", "bytes", "seconds", box=None)
    for image in images:
        table.add_row(image.target, image.compiler, str(image.bytes), f"{image.seconds:.1f}")
    Console().print(table)
    print(f"wrote {path}, {path.stat().st_size} bytes")
    return 0


def _engines(options: argparse.Namespace) -> int:
    from spcnet.export.engine import build_engine
    from spcnet.runtime import model
    from spcnet.runtime.files import check_outputs
    from spcnet.runtime.progress import bar

    if Path(options.model).is_dir():
        return _bundle(options)
    source = model.find(options.model)
    check_outputs({"--output": options.output}, {"the model": source})
    targets = list(dict.fromkeys(options.target or [None]))
    if options.output and len(targets) > 1:
        raise ValueError(f"{len(targets)} targets give {len(targets)} engines; leave out --output")
    engines, fields = [], ("flavour", "version", "gpu", "precision", "parity")
    for target in targets:
        path = options.output or Path(source.stem + (f".sm{target}" if target else "") + ".engine")
        start = time.perf_counter()
        with bar(1, path.name, transient=True) as report:
            record, built = build_engine(
                source, path, _options(options, target), lambda share: report(completed=share)
            )
        engines.append(
            {
                "path": str(path),
                "built": built,
                "seconds": round(time.perf_counter() - start, 2),
                "bytes": path.stat().st_size,
                "compute_capability": record.capabilities,
                **{name: getattr(record, name) for name in fields},
            }
        )
        compared = "not run: built ahead"
        if record.parity is not None:
            compared = f"relative error of its features {record.parity:.1e}"
        if not options.json:
            print(
                f"{'wrote' if built else 'up to date:'} {path}, {path.stat().st_size} bytes: "
                f"{record.flavour} {record.version}, {record.precision}, for compute capability "
                f"{record.capabilities}{record.gpu and ', '}{record.gpu}; {compared}"
            )
    if options.json:
        print(json.dumps(engines))
    return 0


def _options(options: argparse.Namespace, target: int | None) -> BuildOptions:
    from spcnet.export.build_options import BuildOptions

    names = ("flavour", "max_targets", "workspace", "level", "hardware", "version_compatible", "dla")
    return BuildOptions(target=target, **{name: getattr(options, name) for name in names})


def _bundle(options: argparse.Namespace) -> int:
    from spcnet.export.install import install
    from spcnet.runtime.progress import bar

    folder = Path(options.model)
    if options.output or options.target:
        raise ValueError(
            f"{folder} is a bundle, which is made ready where it is; leave out --output and --target"
        )
    with bar(1, folder.name, transient=True) as report:
        said = install(folder, _options(options, None), lambda share: report(completed=share))
    if options.json:
        print(json.dumps(said._asdict()))
    else:
        print("\n".join(said.lines))
    return 0
