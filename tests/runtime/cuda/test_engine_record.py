"""The comparisons before TensorRT reads a plan: the record, the header, the machine; on real files."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest
from emulator.host_device import HostDevice
from emulator.recorded_tensorrt import CONFIG, HEADER, RTX_HEADERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spcnet.runtime.cuda.engine import open_engine
from spcnet.runtime.cuda.engine_record import PLATFORM, EngineRecord
from spcnet.runtime.model import ModelError

REBUILD = "spcnet build MODEL.onnx"


def test_the_record_survives_json(build):
    text = build(compute_capability=("8.6", "8.9"), gpu="").with_name("tiny.engine.json").read_text()
    record = EngineRecord.from_json(text)
    assert record.compute_capability == ("8.6", "8.9") and record.config == CONFIG
    assert record.to_json() == text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flavour", "tensorrt_lean"),
        ("version", "10.3"),
        ("version", "ten"),
        ("compute_capability", ()),
        ("compute_capability", "8.7"),
        ("compute_capability", (8.7,)),
        ("platform", ""),
        ("precision", "int4"),
        ("max_patches", 0),
        ("max_patches", 1.0),
        ("max_patches", True),
        ("plan_sha256", "0" * 63),
        ("min_patches", 0),
        ("hardware", "any"),
        ("dla", -1),
        ("dla", "0"),
        ("strongly_typed", 1),
        ("parity", float("nan")),
        ("parity", -0.1),
        ("parity", "good"),
        ("host_code", 0),
        ("gpu", None),
    ],
)
def test_a_bad_value_is_refused_by_name(build, field, value):
    record = EngineRecord.from_json(build().with_name("tiny.engine.json").read_text())
    with pytest.raises(ValueError, match=f"^{field} is .*, needed is "):
        dataclasses.replace(record, **{field: value})


def test_a_missing_plan_or_sidecar_is_refused(build, device, tmp_path, refusal):
    with pytest.raises(FileNotFoundError, match=r"no engine .*none.engine; give its path, or build one"):
        open_engine(tmp_path / "none.engine", device)
    path = build()
    path.with_name("tiny.engine.json").unlink()
    assert "tiny.engine lacks tiny.engine.json, which says" in refusal(path, device)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[:100], "is cut off, or no JSON"),
        (lambda text: "", "is cut off, or no JSON"),
        (lambda text: "[" * 100_000, "is cut off, or no JSON"),
        (lambda text: "[]", "has format None, needed is 'spcnet-engine-1'"),
        (lambda text: text.replace("engine-1", "engine-2"), "has format 'spcnet-engine-2', needed"),
        (lambda text: text.replace('"gpu"', '"cpu"'), "was edited: key 'cpu' is missing or unknown"),
        (lambda text: text.replace("fp16", "fp17"), "was edited: precision is"),
        (lambda text: text.replace('"scales": 3', '"scales": 4'), "was edited: scales is 4"),
        (lambda text: text.replace('"scales": 3', '"scales": "3"'), "was edited: tracker.scales is '3'"),
        (lambda text: text.replace('"scale_step": 1.02', f'"scale_step": 1{"0" * 400}'), "was edited: "),
        (
            lambda text: text.replace('"config": {', '"config": {"threads": 1, '),
            "was edited: unknown key tracker",
        ),
    ],
)
def test_a_spoilt_sidecar_is_refused_in_one_sentence(build, device, change, reason, refusal):
    path = build()
    sidecar = path.with_name("tiny.engine.json")
    sidecar.write_text(change(sidecar.read_text()))
    message = refusal(path, device)
    assert f"tiny.engine.json {reason}" in message
    assert message.endswith(REBUILD) and "\n" not in message


def test_a_plan_of_something_else_is_refused(build, device, refusal):
    for plan in (b"", HEADER[:27], b"PK\3\4" + HEADER[4:]):
        assert "is no TensorRT plan: it begins with" in refusal(build(plan), device)


def test_every_difference_stands_in_the_table(build, device, installed, refusal):
    installed(version="10.16.1")
    path = build(compute_capability=("8.6", "8.9"), gpu="GPU-X", platform="plan9-mips")
    path.write_bytes(HEADER[:26] + b"\1" + HEADER[27:])
    message = refusal(path, device)
    lines = [line.split(None, 4) for line in message.splitlines()[2:-1]]
    assert message.splitlines()[0].endswith("does not fit this machine, or was changed:")
    assert message.splitlines()[1].split() == ["expected", "found"]
    assert [" ".join(line[:2]) for line in lines] == [
        "SHA-256 of",
        "version in",
        "package tensorrt",
        "compute capability",
        "GPU GPU-X",
        "platform plan9-mips",
    ]
    for words in ("10.3.0.30  ", "10.3.1.30", "10.16.1", "8.6 or 8.9", "8.7", "plan9-mips", PLATFORM):
        assert words in message
    assert message.endswith("\nbuild it again on this machine: " + REBUILD)


def test_the_command_to_build_it_again_has_its_options(build, device, refusal):
    choices = {"max_patches": 12, "hardware": "ampere_plus", "dla": 1, "host_code": True}
    message = refusal(build(flavour="tensorrt_rtx", platform="plan9-mips", **choices), device)
    options = "--flavour tensorrt_rtx --max-targets 4 --hardware ampere_plus --dla 1 --version-compatible"
    assert message.endswith(f"{REBUILD} {options}")


@pytest.mark.parametrize(
    ("hardware", "built", "gpu", "fits"),
    [
        ("exact", "8.7", "the GPU here", True),
        ("exact", "8.7", "", True),  # built ahead
        ("exact", "8.7", "another", False),
        ("exact", "8.0", "", False),
        ("same_compute_capability", "8.7", "another", True),
        ("same_compute_capability", "8.6", "another", False),
        ("ampere_plus", "8.0", "another", True),
        ("ampere_plus", "8.9", "another", True),
    ],
)
def test_how_far_the_hardware_may_differ(build, device, installed, refusal, hardware, built, gpu, fits):
    installed()
    assert device.compute_capability == (8, 7)
    gpu = device.name if gpu == "the GPU here" else gpu
    message = refusal(build(hardware=hardware, compute_capability=(built,), gpu=gpu, platform="plan9-mips"))
    assert fits == ("compute capability  " not in message and "GPU  " not in message)
    device.compute_capability = (7, 5)
    older = refusal(build(hardware=hardware, compute_capability=(built,), gpu=gpu, platform="plan9-mips"))
    needed = "8.0 or higher" if hardware == "ampere_plus" else built
    assert re.search(rf"compute capability +{needed} +7\.5", older)


def test_the_documentation_shows_the_very_messages(build, device, installed, refusal, tmp_path, monkeypatch):
    text = (Path(__file__).parents[3] / "docs" / "guides" / "export.md").read_text()
    installed(version="10.16.1")
    monkeypatch.chdir(tmp_path)
    other = HEADER[:24] + bytes([10, 16, 1, 11])
    digest = hashlib.sha256(other).hexdigest()

    def shown(message):
        message = message.replace(f"{tmp_path}/", "").replace(device.name, "Orin").replace(digest, "8f…")
        message = re.sub(r"\(Expecting .*\);", "(…);", message)  # Python's words
        return message.replace("0" * 64, "00…").replace("1" * 64, "11…").replace(PLATFORM, "linux-aarch64")

    every = {"compute_capability": ("8.6",), "gpu": "NVIDIA RTX A2000", "platform": "linux-x86_32"}
    path = build(plan_sha256="1" * 64, **every)
    path.write_bytes(other)
    messages = [refusal(path)]
    path = build()
    path.write_bytes(b"PK" + HEADER[2:])
    messages.append(refusal(path))
    path = build()
    path.with_name("tiny.engine.json").write_text(
        path.with_name("tiny.engine.json").read_text().replace("fp16", "fp4")
    )
    messages.append(refusal(path))
    path.with_name("tiny.engine.json").write_text("{")
    messages.append(refusal(path))
    path.with_name("tiny.engine.json").unlink()
    messages.append(refusal(path))
    messages.append(refusal(build(host_code=True, version="10.3.0.30")))
    for message in messages:
        for line in shown(message).splitlines():
            assert " ".join(line.split()) in " ".join(text.replace("\\|", "|").split()), line


def test_only_what_differs_stands_in_the_table(build, device, installed, refusal):
    installed()
    message = refusal(build(platform="plan9-mips"), device)
    assert "plan9-mips" in message and "SHA" not in message and "package" not in message


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({}, "not installed"),
        ({"tensorrt": "10.3.0"}, None),  # JetPack
        ({"tensorrt": "10.3.0.30"}, None),
        ({"tensorrt_cu12": "10.3.0"}, None),
        ({"tensorrt_cu13": "10.3.0.31"}, "10.3.0.31"),
        ({"tensorrt_cu12": "10.3.0", "tensorrt_cu13": "11.4.0.106"}, "10.3.0 and 11.4.0.106"),
        ({"tensorrt_lean": "10.3.0", "tensorrt_rtx": "10.3.0"}, "not installed"),
    ],
)
def test_the_package_is_known_by_any_of_its_names(build, device, installed, names, found, refusal):
    for name, version in names.items():
        installed(name=name, version=version)
    message = refusal(build(platform="plan9-mips"), device)  # so that it ends here
    line = next((line for line in message.splitlines() if line.strip().startswith("package")), None)
    assert (line is None) == (found is None)
    assert found is None or line.split("  ")[-1] == found


@pytest.mark.parametrize("version", RTX_HEADERS)
def test_headers_of_tensorrt_rtx_are_read(build, device, installed, version, refusal):
    plan = bytes.fromhex(RTX_HEADERS[version])
    installed(name="tensorrt_rtx_cu13", version=version)
    rtx = {"flavour": "tensorrt_rtx", "platform": "plan9-mips"}
    assert "version in" not in refusal(build(plan, version=version, **rtx), device)
    message = refusal(build(plan, version="1.5.0.114", **rtx), device)
    assert f"version in the plan  1.5.0.114               {version}" in message


def test_a_header_of_another_layout_is_left_to_tensorrt(build, device, installed, refusal):
    installed()
    plan = b"ftrt\1" + HEADER[5:24] + b"\1\2\3\4"
    assert "version in" not in refusal(build(plan, platform="plan9-mips"), device)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9)) | st.binary(max_size=300), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_no_sidecar_does_worse_than_a_refusal(build, rubbish, data):
    path = build(platform="plan9-mips")
    sidecar = path.with_name("tiny.engine.json")
    values = json.loads(sidecar.read_text())
    if isinstance(rubbish, bytes):
        text = sidecar.read_bytes()
        at = data.draw(st.integers(0, len(text)))
        sidecar.write_bytes(text[:at] + rubbish + text[at + len(rubbish) :])
    else:
        leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        anything = leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=5), leaves)
        holder = data.draw(st.sampled_from([values, values["config"]]))
        holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(anything)
        sidecar.write_text(json.dumps({**values, **rubbish}))
    with pytest.raises(ModelError):
        open_engine(path, HostDevice())


@given(st.binary(max_size=40), st.integers(0, 28), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_header_does_worse_than_a_refusal(build, rubbish, at, noticed):
    path = build(platform="plan9-mips")
    plan = HEADER[:at] + rubbish + HEADER[at + len(rubbish) :]
    path.write_bytes(plan)
    if noticed:
        path = build(plan, platform="plan9-mips")  # with its hash in the sidecar
    with pytest.raises(ModelError):
        open_engine(path, HostDevice())
