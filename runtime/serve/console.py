"""The tracker in a thread of its own: it tracks frame by frame, and obeys commands between two frames."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.run import first_result
from spcnet.runtime.serve import commands
from spcnet.runtime.serve.commands import Action
from spcnet.runtime.serve.feed import Feed, Waiting
from spcnet.runtime.serve.recording import Recorder
from spcnet.runtime.serve.snapshot import Snapshot, row
from spcnet.runtime.tracker import MultiTracker, Result
from spcnet.runtime.video import Video

ADJUSTABLE = ("uncertain_score", "lost_score", "interp_factor", "update_interval")  # shown, and changed live
CLOSING = "the console is closing; start it again"
SMOOTH = 0.1  # share of the latest frame in the shown times


class Console:
    """A tracker, a source, and those who look on; submit commands from any thread.

    load opens the tracker and reopen the source, both in threads of the console. changed is called, in the
    tracker's thread, after every new snapshot.
    """

    def __init__(
        self,
        load: Callable[[], MultiTracker],
        reopen: Callable[[], Video],
        changed: Callable[[], None],
        about: Mapping[str, object],
        record: Path | None = None,
        video: Video | None = None,
    ) -> None:
        """about is shown as it is; video is the source where it is open already."""
        self.snapshot = Snapshot()
        self.encode_ms = 0.0  # of the latest picture; the server's to set
        self.recorder = Recorder(record)
        self.chosen: list[Box] = []  # the boxes of the targets when it ended
        self._load, self._reopen, self._changed, self._about = load, reopen, changed, dict(about)
        self._wake = threading.Condition()
        self._commands: deque[tuple[Action, Future[dict[str, object]]]] = deque()
        self._wanted: set[int] = set()  # targets whose response somebody looks at
        self._closed = False
        self._feed = Feed((lambda: video) if video else reopen, self._wake)
        self._number: int | None = None  # of the current frame
        self._frame: Frame | None = None
        self._results: dict[int, Result] = {}
        self._playing, self._steps, self._due = False, 0, 0.0
        self._times: deque[float] = deque(maxlen=120)  # when the latest frames were done
        self._stages: dict[str, float] = {}
        self._warning: str | None = None
        self._ended: str | None = None  # why there are no more frames, once that was published
        self.ready: Future[None] = Future()  # done when the tracker is loaded
        self.finished: Future[None] = Future()  # done when it stopped tracking, with the error if it broke
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, action: Action) -> Future[dict[str, object]]:
        """Let the action happen between two frames; it gives what is to be answered, or its refusal."""
        future: Future[dict[str, object]] = Future()
        with self._wake:
            if self._closed:
                future.set_exception(RuntimeError(CLOSING))
            else:
                self._commands.append((action, future))
                self._wake.notify_all()
        return future

    def want(self, targets: set[int]) -> None:
        """Let the snapshots have the responses of these targets."""
        with self._wake:
            self._wanted = targets
            self._wake.notify_all()

    def close(self) -> None:
        """Stop tracking; a recording is finished. It waits a moment for a source that gives nothing."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()
        self._feed.close(timeout=1.0)

    def _run(self) -> None:
        for future in (self.ready, self.finished):  # who waits for them may give up, they go on
            future.set_running_or_notify_cancel()
        try:
            self._tracker = self._load()
        except BaseException as error:
            self.ready.set_exception(error)
            self._refuse_rest()
            return
        with self._tracker:
            self._about["defaults"] = self._settings()
            self.ready.set_result(None)
            try:
                while not self._closed:
                    taken = self._next()
                    self._obey()
                    if taken:
                        self._advance(*taken)
                    self._publish()
                self._end()
                self.finished.set_result(None)
            except BaseException as error:
                self.finished.set_exception(error)
            finally:
                self._refuse_rest()

    def _next(self) -> Waiting | None:
        """Wait for a frame that is due, and take it; None where there is something else to do."""
        with self._wake:
            while not (self._closed or self._commands or self._untold()):
                moves = self._feed.live or self._playing or self._steps or self._frame is None
                pause = max(self._due - time.monotonic(), 0.0) if self._playing and not self._steps else 0.0
                if moves and self._feed.frame and pause == 0:
                    self._steps = max(self._steps - 1, 0)
                    self._due = max(self._due, time.monotonic() - self._feed.seconds) + self._feed.seconds
                    return self._feed.take()
                self._wake.wait(pause or None)
            return None

    def _untold(self) -> bool:
        """Whether there is something to publish without a frame."""
        return self._feed.ended != self._ended or bool(self._asked() - {*self.snapshot.responses})

    def _asked(self) -> set[int]:
        return self._wanted & {*self._results}

    def _obey(self) -> None:
        while True:
            with self._wake:
                if not self._commands:
                    return
                action, future = self._commands.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._perform(action))
            except KeyError as error:
                future.set_exception(ValueError(error.args[0]))
            except Exception as error:  # of any kind: the client gets its sentence, and tracking goes on
                future.set_exception(error)

    def _perform(self, action: Action) -> dict[str, object]:
        match action:
            case commands.AddTarget(box):
                return {"target": self._begin(None, box)}
            case commands.RestartTarget(target, box):
                return {"target": self._begin(target, box)}
            case commands.DropTarget(target):
                self._tracker.remove(target)
                self._results.pop(target, None)
            case commands.Configure(changes):
                self._tracker.configure(**changes)
            case commands.Record():
                self.recorder.start()
                self._warning = None
            case commands.Stop():
                return {"files": self.recorder.stop()}
            case commands.Reopen():
                self._open_again()
            case commands.Play() | commands.Pause() | commands.Step():
                self._control(action)
        return {}

    def _begin(self, target: int | None, box: tuple[float, ...]) -> int:
        if self._frame is None:
            raise ValueError("there is no picture yet; wait for the source's first frame")
        if target is None:
            target = self._tracker.add(self._frame, box)
        else:
            self._tracker.restart(target, self._frame, box)
        self._results[target] = first_result(box)
        return target

    def _control(self, action: commands.Play | commands.Pause | commands.Step) -> None:
        if self._feed.live:
            raise ValueError("the source is live, it can be neither held nor stepped; play a file for that")
        if self._feed.ended is not None and not isinstance(action, commands.Pause):
            raise ValueError(f"{self._feed.ended}; open the source again")
        self._playing = isinstance(action, commands.Play)
        self._steps += isinstance(action, commands.Step)
        self._due = time.monotonic()
        self._times.clear()

    def _open_again(self) -> None:
        if self.recorder.name:
            self.recorder.stop()  # the frames are numbered anew
        for target in self._tracker.ids:
            self._tracker.remove(target)
        self._results = {}
        self._feed.close()
        self._feed = Feed(self._reopen, self._wake, self._feed)
        self._number = self._frame = self._warning = None
        self._playing, self._steps = False, 0
        self._times.clear()

    def _advance(self, number: int, when: float | None, frame: Frame) -> None:
        """Track one frame. Whatever goes wrong is shown, and the next frame is tried."""
        self._number, self._frame = number, frame
        self._playing = self._playing or self._feed.live
        try:
            if self._tracker.ids:
                self._results = self._tracker.update(frame)
                self._time(self._tracker.timings)
                self.recorder.write(number, frame, self._results, when)
        except Exception as error:
            self._warning = str(error)
        self._times.append(time.monotonic())

    def _time(self, timings: Mapping[str, float]) -> None:
        for name in dict.fromkeys((*self._stages, *timings)):
            now = 1e3 * timings.get(name, 0.0)
            former = self._stages.get(name, now)
            self._stages[name] = former + SMOOTH * (now - former)

    def _publish(self) -> None:
        with self._wake:
            asked, self._ended = self._asked(), self._feed.ended
        self._playing = self._playing and self._ended is None
        responses = {one: self._response(one) for one in asked}
        state = json.dumps(self._state(), allow_nan=False)
        self.snapshot = Snapshot(self.snapshot.serial + 1, self._frame, state, responses)
        self._changed()

    def _response(self, target: int) -> NDArray[np.float32] | None:
        try:
            return self._tracker.response(target)
        except RuntimeError:  # it was not searched yet
            return None

    def _state(self) -> dict[str, Any]:
        feed = self._feed
        video = feed.video
        height, width = self._frame.shape[:2] if self._frame is not None else (0, 0)
        return {
            **self._about,
            "backend": self._tracker.backend,
            "frame": None
            if self._number is None
            else {"number": self._number, "width": width, "height": height},
            "frames": video.count if video else None,
            "live": feed.live,
            "playing": self._playing,
            "ended": self._ended,
            "warning": self._warning or (video and video.damage) or None,
            "fps": self._rate(),
            "stages_ms": {name: round(ms, 3) for name, ms in self._stages.items()}
            | ({"encode": round(self.encode_ms, 3)} if self.encode_ms else {}),
            "dropped": feed.dropped,
            "skipped": video.skipped if video else 0,
            "reconnects": video.reconnects if video else 0,
            "targets": [row(target, result) for target, result in sorted(self._results.items())],
            "config": self._settings(),
            "can_record": self.recorder.folder is not None,
            "recording": self.recorder.name and {"name": self.recorder.name, "frames": self.recorder.frames},
            "recorded": list(self.recorder.files),
        }

    def _settings(self) -> dict[str, float]:
        return {name: getattr(self._tracker.config, name) for name in ADJUSTABLE}

    def _rate(self) -> float | None:
        """Frames a second, over the latest two seconds."""
        recent = [one for one in self._times if one > self._times[-1] - 2] if self._playing else []
        return round((len(recent) - 1) / (recent[-1] - recent[0]), 1) if len(recent) > 1 else None

    def _end(self) -> None:
        self.chosen = [result.box for result in self._results.values()]
        if self.recorder.name:
            self.recorder.stop()

    def _refuse_rest(self) -> None:
        with self._wake:
            self._closed = True
            left, self._commands = self._commands, deque()
        for _, future in left:
            future.set_exception(RuntimeError(CLOSING))
