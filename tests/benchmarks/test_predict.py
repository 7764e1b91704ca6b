"""The modelled times of launches: by hand, with made-up machine code, and beside what an H200 took."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from spcnet.benchmarks.gpu import predict, sass
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.gpu.launches import Planned, planned
from spcnet.benchmarks.gpu.predict import H200, SHEETS, Cycles, GpuModel, Measured
from spcnet.benchmarks.gpu.run import MODELS
from spcnet.runtime.cuda import compiler

ROOT = Path(__file__).parents[2]
NOTEBOOK = (ROOT / "docs/notebook/gpu.md").read_text()
LOOPED = sass.Code(
    64, 7168, 0, 0, 500, Counter(FFMA=64, FADD=8, FMUL=8, LDS=20)
)  # 100 instructions, 144 operations
SMALL = GpuModel("Small", 87, 2, 1e9, 1e9, {"fp32": 1e12, "half": 3e12}, 1e-6)


@pytest.fixture(scope="module")
def codes():
    """Made-up machine code of every kernel that is launched or was measured."""
    names = {step.kernel for name in MODELS for step in planned(name, 1)}
    names |= {row.step.kernel for row in predict.measured()}
    return {target: dict.fromkeys(names, LOOPED) for target in (87, 89, 90)}


def test_instructions_by_hand():
    # 256 threads of 1440 operations: 10 passes of the loop, one of which is among the 500
    step = Planned("localize", "rows_dft", Work(0, 2 * 128 * 1440), 2)
    assert predict.instructions(step, LOOPED) == 500 + 9 * 100
    assert predict.instructions(step._replace(work=Work(0, 10)), LOOPED) == 500  # less than a pass
    assert predict.instructions(step, LOOPED._replace(size=100)) == 100  # there is no loop
    assert predict.instructions(step, LOOPED._replace(loop=Counter(IADD3=9))) == 500
    # an instruction of tensor cores is 128 operations of a thread, FP32 takes three
    tensor = LOOPED._replace(loop=Counter(HMMA=3, FADD=7))
    assert predict.instructions(step._replace(kernel="conv_next_1_4"), tensor) == pytest.approx(
        500 + 10 * (1440 / 128 - 1)
    )
    assert predict.instructions(step._replace(kernel="conv_half_next_1_4"), tensor) == pytest.approx(
        500 + 10 * (1440 / 128 / 3 - 1)
    )


def test_a_chain_by_hand():
    # 128 threads of 64 registers: 8 blocks by registers, 20 by 8 KiB of shared memory, 12 by threads
    assert sass.resident(87, 128, LOOPED) == 8
    few = Planned("localize", "rows_dft", Work(0, 0), 2)  # a block on each, a warp on each scheduler
    assert predict.chain(SMALL, few, LOOPED, Cycles(6, 0.5)) == pytest.approx(500 * 6.5 / 1e9)
    half = few._replace(blocks=8)  # 4 blocks each
    assert predict.chain(SMALL, half, LOOPED, Cycles(6, 0.5)) == pytest.approx(500 * 8 / 1e9)
    full = few._replace(blocks=48)  # 24 blocks each, in 3 waves
    assert predict.chain(SMALL, full, LOOPED, Cycles(6, 0.5)) == pytest.approx(500 * 10 * 3 / 1e9)


def test_a_launch_takes_its_start_and_the_longer_part():
    step, cycles = Planned("localize", "rows_dft", Work(0, 0), 2), Cycles(6, 0.0)
    assert predict.modelled(SMALL, step, LOOPED, cycles) == pytest.approx(1e-6 + 3e-6)
    heavy = step._replace(work=Work(5000, 0))
    assert predict.modelled(SMALL, heavy, LOOPED, cycles) == pytest.approx(1e-6 + 5e-6)
    first = Planned("localize", "conv_first_1_4", Work(0, 7e6), 20000)  # a third of the rate of FP16
    assert predict.floor(SMALL, first) == pytest.approx(7e-6)


@pytest.mark.parametrize("better", ["processors", "bandwidth", "clock"])
def test_a_better_gpu_is_never_slower_nor_more_targets_faster(better):
    for gpu in (SMALL, *SHEETS):
        faster = gpu._replace(**{better: 2 * getattr(gpu, better)})
        sums = []
        for targets in (1, 2, 7, 32, 33):
            steps = planned("nano", targets)
            pairs = [
                [predict.modelled(one, step, LOOPED, Cycles(6, 0.8)) for one in (gpu, faster)]
                for step in steps
            ]
            assert all(slow >= fast for slow, fast in pairs)
            sums.append(sum(slow for slow, _ in pairs))
        assert sums == sorted(sums) and sums[0] < sums[-1]


def test_launches_in_batches():
    one, two = planned("nano", 32), planned("nano", 64)
    assert two == 2 * one
    assert [step.half for step in one] == sorted((step.half for step in one), reverse=True)
    assert {step.kernel for step in planned("c32-125", 1, size=128)} >= {"rows_fft_128", "learn_fft_128"}


def rows_of(gpu, cycles, kernels=("crop", "rows_dft", "learn_dft")):
    steps = {step.kernel: step for targets in (1, 16) for step in planned("c32-125", targets)}
    return [
        Measured(gpu, "c32-125", 1, steps[k], predict.modelled(gpu, steps[k], LOOPED, cycles))
        for k in kernels
    ]


def test_the_fit_finds_the_cycles_that_made_the_rows(codes):
    rows = rows_of(H200, Cycles(7.5, 1.4)) + rows_of(SHEETS[3], Cycles(7.5, 1.4))
    assert predict.fit(rows, codes) == pytest.approx((7.5, 1.4))
    odd = rows[0]._replace(step=rows[0].step._replace(kernel="locate"), seconds=2 * rows[0].seconds)
    ratios = {row.step.kernel: ratio for row, ratio in predict.validate([*rows, odd], codes)}
    assert ratios["locate"] < 0.6  # by the others alone


def test_the_launches_are_those_of_the_report_and_the_notebook():
    record = json.loads((ROOT / "benchmarks/results/gpu-nvidia-h200.json").read_text())
    old = {(r["config"], r["kernel"], r["targets"]): 1e6 * r["median"] for r in record["kernels"]}
    table = {}
    for name, *cells in re.findall(
        r"^\| ([^|]+) \|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|$", NOTEBOOK, re.MULTILINE
    ):
        table.setdefault(name, cells)
    for (model, backbone, size), kernels in predict.LAUNCHES.items():
        for kernel, times in kernels.items():
            step, way, *_ = kernel.split("_")
            if step == "conv":
                cells = table[model + (", FP16" if backbone == "kernels-fp16" else "")]
                expected = [float(cells[at].split(",")[0]) for at in (1, 3)]
            else:
                expected = [old[f"N={size} C=32 S=3", f"{step} ({way})", targets] for targets in (1, 16)]
            assert times == pytest.approx(expected, abs=0.05)
    assert record["floors"]["launch_in_graph"]["median"] == pytest.approx(H200.start, rel=1e-3)
    assert record["floors"]["copy_bandwidth"] == pytest.approx(H200.bandwidth, rel=1e-3)
    assert record["rates"]["half"] == pytest.approx(H200.rates["half"], rel=1e-3)


def test_the_model_holds_as_the_notebook_says(tmp_path, record_property):
    """The transforms, compiled here; the layers take 20 s to compile."""
    for path in compiler.KERNELS.iterdir():
        if path.suffix == ".cuh" or path.stem in ("dft", "respond", "learn"):
            shutil.copy(path, tmp_path)
    codes = {90: sass.kernels(90, tmp_path)}
    rows = [row for row in predict.measured() if row.step.kernel in codes[90]]
    assert len(rows) == 12
    said = re.search(r"takes ([\d.]+) cycles, and ([\d.]+) more", NOTEBOOK)
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+) times at worst", NOTEBOOK).groups())
    for row in rows:
        ratio = predict.ratio(row, codes, Cycles(*map(float, said.groups())))
        record_property("modelled", (row.step.kernel, row.targets, f"{ratio:.2f}"))
        assert low - 0.01 <= ratio <= high + 0.01, row


def test_every_figure_is_marked(codes):
    text = predict.report([SMALL, H200], ["c32-125"], predict.measured(), codes)
    assert "Modelled, not measured" in text
    marks = [
        line.rsplit("|", 2)[1].strip() for line in text.split("## A frame's")[1].splitlines() if "|" in line
    ]
    assert set(marks) - {"", "---:"} == {"modelled", "measured", "part modelled"}
    small = [line for line in text.splitlines() if line.startswith("| Small")]
    assert len(small) == 4 and all(line.endswith("| modelled |") for line in small)
    assert "| 15.3 | 15.3 to 15.3 | measured |" in text  # rows_dft of one target, on the H200


@pytest.fixture
def orin(tmp_path):
    """The record of a GPU that takes twice as long as the model says of an Orin Nano."""
    rows = [
        {
            "model": "nano",
            "backbone": "kernels",
            "targets": 1,
            **step.work._asdict(),
            **{name: getattr(step, name) for name in ("half", "kernel", "blocks")},
            "median": 2 * predict.modelled(SHEETS[2], step, LOOPED, Cycles(6, 0.8)),
        }
        for step in planned("nano", 1)
    ]
    return {
        "gpu": {"name": "Orin", "compute capability": "8.7", "SMs": 8, "clock, kHz": 625000},
        "floors": {"copy_bandwidth": 55e9, "launch_in_graph": {"median": 3e-6}},
        "rates": {"fp32": 1.2e12, "rates": "measured"},
        "kernels": [*rows, {"model": "nano", "targets": 1, "kernel": "frame", "median": 1e-3}],
    }


def test_a_report_is_printed_instead_of_the_model(tmp_path, monkeypatch, capsys, codes, orin):
    monkeypatch.setattr(sass, "kernels", codes.__getitem__)
    path = tmp_path / "gpu-orin.json"
    path.write_text(json.dumps(orin))
    assert predict.main(["--report", str(path)]) == 0
    text = capsys.readouterr().out
    assert "Orin Nano" not in text and "| RTX 4070 | nano" in text
    sums = 1e6 * sum(row["median"] for row in orin["kernels"] if "half" in row)
    assert re.search(rf"\| Orin \| nano \| 1 \| learnt \| {sums:.0f} \|.*\| measured \|", text)
    assert re.search(r"\| Orin \| base \| 1 \| learnt \|.*\| modelled \|", text)
    assert len(re.findall(r"\| Orin \| nano \| 1 \| \w+ \| \d+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|", text)) == 14


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"floors": None}, "no report of launches"),
        ({"gpu": {"name": "Emulated"}}, "no report of launches (KeyError('compute capability'))"),
        ({"kernels": []}, "0 launches on sm_87"),
        ({"gpu": {"name": "X", "compute capability": "6.1", "SMs": 8, "clock, kHz": 1}}, "launches on sm_61"),
    ],
)
def test_a_bad_report_is_one_sentence(tmp_path, capsys, orin, change, sentence):
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(orin | change))
    assert predict.main(["--report", str(path)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1
    assert sentence in err and str(path) in err and predict.REMEDY in err


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_what_is_no_record_is_one_sentence(tmp_path, capsys, content):
    path = tmp_path / "gpu.json"
    if content is not None:
        path.write_text(content)
    assert predict.main(["--report", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
