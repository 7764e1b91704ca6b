"""Real pycuda, and the device without it, on the fake driver: contexts, streams, memory, graphs, launches."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from emulator import fake_driver
from emulator.host_device import HostDevice

from spcnet.benchmarks.gpu import backbone, card, kernels
from spcnet.benchmarks.gpu.run import open_gpu
from spcnet.runtime import MultiTracker, Tracker
from spcnet.runtime.cuda import available
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone, open_device


@pytest.fixture(params=["pycuda", "driver"])
def device_class(request, driver, monkeypatch):
    """Make each class in turn that of the trackers; returns what opens a device."""
    if request.param == "driver":
        monkeypatch.setattr(available, "import_pycuda", lambda: "it is left out here")
    return open_device


@pytest.fixture(scope="module")
def reference(tiny_model, video):
    """The results of the emulated device on the synthetic video."""
    frames, boxes = video
    device = HostDevice()
    tracker = Tracker(CudaBackend(device, *open_backbone(str(tiny_model), device, "kernels")))
    tracker.init(frames[0], boxes[0])
    results = [tracker.update(frame) for frame in frames[1:8]]
    tracker.close()
    return results


@pytest.mark.parametrize(("graphs", "lazy"), [(True, 1), (False, 0)])
def test_a_tracker_on_the_driver(device_class, driver, tiny_model, video, reference, graphs, lazy):
    """lazy: the stream's work waits until something synchronises, so that a missing wait shows."""
    fake_driver.put("lazy", lazy)
    frames, boxes = video
    tracker = Tracker(tiny_model, backend="cuda", graphs=graphs)
    tracker.init(frames[0], boxes[0])
    for index, (frame, expected) in enumerate(zip(frames[1:8], reference, strict=True)):
        driver.fakecuda_reset()
        assert tracker.update(frame) == expected
        if index > 3:  # warmed up, recorded
            assert fake_driver.count("launches") == 11
            assert fake_driver.count("graph_launches") == (1 if graphs else 0)
            assert fake_driver.count("syncs") == 1
            assert fake_driver.count("bytes_up") == frame.nbytes + 256  # and its record
            assert fake_driver.count("bytes_down") == 0  # the results are written to mapped memory
    tracker.close()


def test_frames_ahead_on_the_driver(driver, tiny_model, video, reference):
    fake_driver.put("lazy", 1)
    frames, boxes = video
    tracker = Tracker(tiny_model, backend="cuda")
    tracker.init(frames[0], boxes[0])
    found = []
    tracker.submit(frames[1])
    for frame in frames[2:8]:
        tracker.submit(frame.copy())
        found.append(tracker.result())
    found.append(tracker.result())
    assert found == reference
    tracker.close()


def test_the_kernel_table_on_the_driver(device_class):
    device = device_class()
    with device.activate():
        errors = kernels.check(device, kernels.Case(33, 3, 4, 2))
        errors += backbone.check(device, 33, 8, 2)
    device.close()
    assert all(error.passed for error in errors), errors


def test_auto_takes_the_gpu_and_says_why(driver, tiny_model, video, caplog):
    with caplog.at_level(logging.INFO, "spcnet"):
        tracker = Tracker(tiny_model)
    assert caplog.records[0].message == "backend cuda: a GPU can be used"
    assert caplog.records[1].message.startswith("on fake device (CPU): our kernels, FP32; kernels from")
    tracker.init(video[0][0], video[1][0])
    tracker.close()


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("devices", 0, "shows 0 GPUs, needed is number 0"),
        ("driver_version", 10000, "the NVIDIA driver is too old: it runs CUDA 10.0, needed is 10.2"),
    ],
)
def test_what_is_missing_is_said(driver, tiny_model, caplog, setting, value, text):
    fake_driver.put(setting, value)
    assert text in (available.missing() or "")
    with pytest.raises(RuntimeError, match="backend 'cuda' cannot run: ") as raised:
        Tracker(tiny_model, backend="cuda")
    assert text in str(raised.value)
    with caplog.at_level(logging.INFO, "spcnet"):
        Tracker(tiny_model, backend="auto")
    assert caplog.records[0].message.startswith("backend native: ") and text in caplog.records[0].message


def test_a_driver_without_graphs(driver, tiny_model, video, reference, caplog):
    fake_driver.put("no_graphs", 1)
    frames, boxes = video
    tracker = Tracker(tiny_model, backend="cuda")
    tracker.init(frames[0], boxes[0])
    assert [tracker.update(frame) for frame in frames[1:8]] == reference
    assert "CUDA graphs cannot be recorded here: plain launches from now on" in caplog.text
    tracker.close()


def test_a_capture_that_breaks_is_tried_again(device_class, driver, tiny_model, video, reference, caplog):
    frames, boxes = video
    tracker = Tracker(tiny_model, backend="cuda")
    tracker.init(frames[0], boxes[0])
    found = [tracker.update(frame) for frame in frames[1:3]]
    fake_driver.put("break_capture", 1)
    found += [tracker.update(frame) for frame in frames[3:8]]
    assert found == reference
    assert [record.message.split("(")[0] for record in caplog.records] == ["a CUDA graph was not recorded "]
    fake_driver.start().fakecuda_reset()
    tracker.update(frames[8])
    assert fake_driver.count("graph_launches") == 1
    tracker.close()


def test_out_of_memory(device_class, driver, tiny_model, video, reference):
    frames, boxes = video
    fake_driver.put("memory", 1 << 20)
    with pytest.raises(MemoryError, match=r"fake device \(CPU\) has .* MB free, .* MB more are needed"):
        tracker = Tracker(tiny_model, backend="cuda")
        tracker.init(frames[0], boxes[0])
    fake_driver.put("memory", 4 << 30)
    del tracker
    tracker = Tracker(tiny_model, backend="cuda")
    tracker.init(frames[0], boxes[0])
    assert [tracker.update(frame) for frame in frames[1:8]] == reference
    tracker.close()


def test_a_failing_gpu_is_named(device_class):
    device = device_class()
    said = r"the GPU fake device \(CPU\) failed: .*; load the tracker again"
    with pytest.raises(RuntimeError, match=said), device.activate():
        device.copy(0, 64, 64)
    device.close()


def test_a_closed_device_has_no_stream_to_wait_for(device_class):
    device = device_class()
    assert device.stream
    device.close()
    assert device.stream == 0


def test_the_rates_of_a_gpu_leave_its_context_as_it_was(driver):
    """The fake driver lacks the kernels that measure them, after all that comes before their launch."""
    device, timer = open_gpu()
    with device.activate():
        found = card.peak_rates(device, timer)
        device.synchronize()
    timer.close()
    device.close()
    assert found["fp32"] > 0 and "named symbol not found" in found["rates"]


def test_another_thread_may_use_and_close_it(driver, tiny_model, video, reference):
    frames, boxes = video
    tracker = Tracker(tiny_model, backend="cuda")
    tracker.init(frames[0], boxes[0])
    found = [tracker.update(frames[1])]

    def work():
        found.extend(tracker.update(frame) for frame in frames[2:8])
        tracker.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == reference


def test_two_trackers_and_a_dropped_one(device_class, driver, tiny_model, video, reference):
    frames, boxes = video
    first, second, dropped = (MultiTracker(tiny_model, backend="cuda") for _ in range(3))
    for tracker in (first, second, dropped):
        tracker.add(frames[0], boxes[0])
    dropped.update(frames[1])
    del dropped, tracker
    for frame, expected in zip(frames[1:8], reference, strict=True):
        assert first.update(frame)[0] == second.update(frame)[0] == expected
    first.close()
    second.close()


def test_order_with_a_foreign_stream(device_class, driver, tiny_model, video, reference):
    """A frame that a foreign stream copies to the device is waited for, without a synchronisation."""
    import pycuda.driver as cuda

    from spcnet.runtime.cuda.pycuda_device import _primary_context

    fake_driver.put("lazy", 1)
    frames, boxes = video
    cuda.init()
    context = _primary_context(0)
    context.push()
    stream = cuda.Stream(1)
    staging = cuda.pagelocked_empty(frames[0].shape, np.uint8)
    memory = cuda.mem_alloc(frames[0].nbytes)

    class Foreign:
        __cuda_array_interface__ = {  # noqa: RUF012
            "shape": frames[0].shape,
            "strides": None,
            "typestr": "|u1",
            "data": (int(memory), True),
            "version": 3,
            "stream": stream.handle,
        }

    tracker = Tracker(tiny_model, backend="cuda", stream=stream.handle)
    found = []
    fake_driver.put("ordinal", 1)
    with pytest.raises(ValueError, match=r"frame at 0x\w+ is not in the memory of the tracker's GPU, fake"):
        tracker.init(Foreign(), boxes[0])
    fake_driver.put("ordinal", 0)
    for index, frame in enumerate(frames[:8]):
        stream.synchronize()
        staging[:] = frame
        cuda.memcpy_htod_async(memory, staging, stream)
        if index:
            found.append(tracker.update(Foreign()))
        else:
            tracker.init(Foreign(), boxes[0])
    tracker.close()
    memory.free()
    staging.base.free()
    del stream
    cuda.Context.pop()
    assert found == reference


def test_pycudas_own_context_stays_current(device_class, driver, tiny_model, video, reference):
    """As that of pycuda.autoinit, which is not the primary one."""
    import pycuda.driver as cuda

    frames, boxes = video
    cuda.init()
    own = cuda.Device(0).make_context()
    stream = cuda.Stream()
    tracker = MultiTracker(tiny_model, backend="cuda")
    first = tracker.add(frames[0], boxes[0])
    found = []
    for number, frame in enumerate(frames[1:8]):
        found.append(tracker.update(frame)[first])
        if number == 3:
            tracker.add(frame, boxes[0])  # more memory
        stream.synchronize()  # refused where another context is current
    tracker.close()
    stream.synchronize()
    del stream
    own.pop()
    own.detach()
    assert found == reference


THREAD = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import numpy as np
from emulator import fake_driver
from spcnet.runtime import Tracker
from spcnet.runtime.cuda import available, images

fake_driver.start()
if sys.argv[3] == "driver":
    available.import_pycuda = lambda: "it is left out here"
images.find = lambda *a, **k: images.Image(b"image", "the host's build")
frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
kept = []

def work():
    kept.append(Tracker(sys.argv[2], backend="cuda", backbone="kernels"))
    kept[0].init(frame, (50, 40, 40, 30))
    kept[0].update(frame)

thread = threading.Thread(target=work)
thread.start()
thread.join()
if sys.argv[4:]:
    kept[0].close()
print("done")
"""


@pytest.mark.parametrize("last", [["pycuda"], ["driver"], ["pycuda", "close"], ["driver", "close"]])
def test_a_tracker_of_another_thread_ends_without_a_word(quick_model, last):
    words = [
        sys.executable,
        "-c",
        THREAD,
        str(Path(fake_driver.__file__).parents[1]),
        str(quick_model),
        *last,
    ]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
