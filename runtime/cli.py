"""The verbs track, demo and info, and the parsers that all verbs share."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcnet.runtime.backend import BACKENDS

if TYPE_CHECKING:
    from spcnet.runtime.frame import Frame
    from spcnet.runtime.run import Summary

NEXT = """try next       spcnet track YOUR_VIDEO --select --video OUT.mp4   (draw the target)
               spcnet serve YOUR_VIDEO                            (watch and steer it in a browser)"""
Commands = argparse._SubParsersAction  # the class that add_subparsers returns has no public name

SOURCE = (
    'file, folder, "pattern*.jpg", camera (0, /dev/video0), URL (rtsp, http, udp ...), FIFO, - for what is '
    "piped in, or GStreamer pipeline"
)
SUMMARY = "print the summary as JSON"


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """track, demo, info."""
    track = commands.add_parser("track", help="track targets through a video, folder, camera or pipeline")
    track.add_argument("source", help=SOURCE)
    target = track.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--box",
        action="append",
        type=box,
        metavar="X,Y,W,H",
        help="target in the first frame, in pixels, 0-based top-left; repeat for several",
    )
    target.add_argument(
        "--select", action="store_true", help="draw it: in a window, or without a display in the browser"
    )
    track.add_argument(
        "--video", type=Path, metavar="FILE", help="annotated video to write (.mp4, .webm, .avi)"
    )
    track.add_argument(
        "--csv", type=Path, metavar="FILE", help="results to write, a line per target and frame"
    )
    track.add_argument("--jsonl", type=Path, metavar="FILE", help="the same as JSON lines")
    track.add_argument(
        "--start",
        type=number,
        default=0,
        metavar="N",
        help="first frame, which the boxes are in (default: 0)",
    )
    track.add_argument("--stride", type=positive, default=1, metavar="N", help="track every Nth frame")
    track.add_argument("--max-frames", type=positive, metavar="N", help="stop after so many frames")
    add_model_options(track)
    track.add_argument("--json", action="store_true", help=SUMMARY)
    track.set_defaults(run=_track)

    demo = commands.add_parser("demo", help="track the rabbit of the demo clip")
    demo.add_argument("folder", nargs="?", default="demo", type=Path, help="where to write (default: demo)")
    demo.add_argument("--webp", type=Path, metavar="FILE", help="small moving picture to write, too")
    add_model_options(demo)
    demo.add_argument("--json", action="store_true", help=SUMMARY)
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="show the config, training and scores of a model")
    info.add_argument("model", nargs="?", help="name in the zoo, or an .onnx file (default: list the zoo)")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model runs, and where."""
    parser.add_argument(
        "--model", default=None, help="name in the zoo, bundle, or .onnx, .engine or .spcnet file"
    )
    parser.add_argument("--backend", default="auto", choices=BACKENDS, help="where to run (default: auto)")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of the backbone on the CPU, 0 for one a core (default: 1)",
    )


def number(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def box(text: str) -> tuple[float, ...]:
    """Parse X,Y,W,H."""
    needed = "give 4 numbers with commas, without blanks: x,y,width,height, such as 10,20,50,60"
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,W,H; {needed}") from None
    if len(values) != 4:
        count = f"{len(values)} number{'s' * (len(values) > 1)}"
        raise argparse.ArgumentTypeError(f"{text!r} has {count}; {needed}")
    return values


def _track(options: argparse.Namespace) -> int:
    outputs = (options.video, options.csv, options.jsonl)
    first, step = options.start, options.stride
    end = first + step * options.max_frames if options.max_frames else sys.maxsize
    return _run(options, options.source, options.box, *outputs, range(first, end, step))


def _demo(options: argparse.Namespace) -> int:
    from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
    from spcnet.runtime.sinks import encodes_h264

    folder, h264 = options.folder, encodes_h264()
    video = folder / ("tracked.mp4" if h264 else "tracked.webm")  # what browsers play
    width = sys.maxsize if h264 else 640  # VP8 takes ten times as long
    outputs = (video, folder / "boxes.csv", folder / "boxes.jsonl")
    status = _run(options, str(DEMO_VIDEO), [DEMO_BOX], *outputs, width=width, webp_path=options.webp)
    if not h264:
        print(f"spcnet: {video} is WebM and small: this OpenCV cannot encode H.264", file=sys.stderr)
    if not status and not options.json:
        print(NEXT)
    return status


def _run(
    options: argparse.Namespace,
    source: str,
    boxes: list[tuple[float, ...]] | None,
    video_path: Path | None,
    csv_path: Path | None,
    jsonl_path: Path | None,
    chosen: range = range(sys.maxsize),
    width: int = sys.maxsize,
    webp_path: Path | None = None,
) -> int:
    from spcnet.runtime.files import check_outputs
    from spcnet.runtime.model import DEFAULT_MODEL
    from spcnet.runtime.progress import bar
    from spcnet.runtime.run import track
    from spcnet.runtime.serve.choose import choose
    from spcnet.runtime.sinks import CsvSink, JsonLinesSink, Sink, VideoSink
    from spcnet.runtime.tracker import MultiTracker
    from spcnet.runtime.video import open_video

    name = options.model or DEFAULT_MODEL
    outputs = {"--video": video_path, "--csv": csv_path, "--jsonl": jsonl_path, "--webp": webp_path}
    check_outputs(outputs, {"the source": Path(source), "the model": Path(name)})
    load = partial(MultiTracker, name, backend=options.backend, threads=options.threads)
    tracker = load()
    with open_video(source) as video, bar(video.count and min(video.count, chosen.stop), "track") as progress:
        check_outputs(outputs, {f"frame {number} of the source": p for number, p in enumerate(video.paths)})

        videos: list[VideoSink] = []

        def sinks() -> Iterator[Sink]:
            if video_path:
                rate, caption = video.fps / chosen.step, f"{Path(name).name}  {tracker.backend}"
                videos.append(VideoSink(video_path, rate, live=not video.waits, caption=caption, width=width))
                yield videos[0]
            if csv_path:
                yield CsvSink(csv_path)
            if jsonl_path:
                yield JsonLinesSink(jsonl_path)
            if webp_path:
                from spcnet.runtime.animation import AnimationSink

                yield AnimationSink(webp_path, video.fps)

        about = {"model": name, "threads": options.threads}
        given = partial(_given, boxes) if boxes else partial(choose, load, about, video.name)
        summary = track(tracker, video, given, sinks, lambda done: progress(completed=done), chosen)
    where = {"model": name, "backend": tracker.backend, "threads": options.threads}
    tracker.close()
    if options.backend == "auto" and tracker.backend != "cuda" and (lacking := _unused_gpu()):
        print(f"spcnet: the GPU was not used: {lacking}", file=sys.stderr)
    written = [str(path) for path in outputs.values() if path]
    codec = videos[0].codec if videos else None
    if options.json:
        record = {**where, **dataclasses.asdict(summary), "written": written, "codec": codec}
        print(json.dumps(record, allow_nan=False))
    else:
        print("   ".join(f"{key} {value}" for key, value in where.items()))
        if codec:
            written[0] += f" ({codec})"
        print(_describe(summary, written))
    if summary.stopped:
        print(f"spcnet: {summary.stopped}; what was tracked before is kept", file=sys.stderr)
        return 1
    return 0


def _given(boxes: list[tuple[float, ...]], frame: Frame) -> list[tuple[float, ...]]:
    """The boxes; of those that reach beyond the frame it is said: they may be x1,y1,x2,y2."""
    height, width = frame.shape[:2]
    for x, y, w, h in boxes:
        beyond = {"left": -x, "right": x + w - width, "top": -y, "bottom": y + h - height}
        sides = [f"{px:g} px at the {side}" for side, px in beyond.items() if px > 0]
        if sides and w > 0 and h > 0 and -w < x < width and -h < y < height:  # others are refused
            print(
                f"spcnet: --box {x:g},{y:g},{w:g},{h:g} reaches beyond the frame of {width} x {height} px, "
                f"by {' and '.join(sides)}; a box is x,y,width,height",
                file=sys.stderr,
            )
    return boxes


def _unused_gpu() -> str | None:
    """Why a GPU that is here cannot be used; None where there is none."""
    from spcnet.runtime.cuda.available import LIBCUDA, ask_driver, missing

    driver = ask_driver(LIBCUDA)
    return missing() if driver and driver.gpus else None


def _describe(summary: Summary, written: list[str]) -> str:
    latency, stages = summary.latency_ms, summary.stages_ms
    lines = [f"{summary.frames} frames, targets: {summary.targets}"]
    if summary.fps is not None:
        lines += [
            f"FPS            {summary.fps:.1f} in the tracker (decoding and writing not counted)",
            "ms per frame   " + "   ".join(f"{name} {value:.2f}" for name, value in latency.items()),
            "ms per stage   " + "   ".join(f"{name} {value:.2f}" for name, value in stages.items()),
            "status         " + "   ".join(f"{name} {count}" for name, count in summary.status.items()),
        ]
    if summary.skipped:
        lines.append(f"skipped        {summary.skipped} frames that cannot be decoded; {summary.damage}")
    if summary.dropped or summary.reconnects:
        lines.append(f"stream         dropped {summary.dropped} frames   reconnects {summary.reconnects}")
    return "\n".join(lines + [f"wrote          {path}" for path in written])


def _info(options: argparse.Namespace) -> int:
    from spcnet.runtime import layers, model

    if options.model is None:
        names = model.zoo()
        print(json.dumps(names) if options.json else "\n".join(names))
        return 0
    found = model.load(model.find(options.model))
    record: dict[str, Any] = {
        "path": str(found.path),
        "bytes": found.path.stat().st_size,
        "sha256": found.sha256,
        "config": json.loads(found.config.to_json()),
        "layers": json.loads(layers.to_json(found.layers)),
        "provenance": found.provenance,
    }
    if options.json:
        print(json.dumps(record, allow_nan=False))
        return 0
    print("\n".join(_indent(record)))
    return 0


def _indent(value: dict[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{'  ' * depth}{key}", *_indent(item, depth + 1)]
        elif isinstance(item, list) and all(isinstance(each, dict) for each in item):
            lines += [f"{'  ' * depth}{key}"]
            lines += ["  " * (depth + 1) + ", ".join(f"{k} {v}" for k, v in each.items()) for each in item]
        else:
            lines.append(f"{'  ' * depth}{key:<{max(24 - 2 * depth, 1)}} {item}")
    return lines
