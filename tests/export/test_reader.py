"""The exported files in the hands of others: onnx alone, onnxruntime alone, without spcnet."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spcnet.export.graphs import export_graphs
from spcnet.runtime import model

DOCS = Path(__file__).parents[2] / "docs" / "guides" / "export.md"
ALONE = "import sys; sys.modules['spcnet'] = None\n"  # importing it would fail


@pytest.fixture(scope="module")
def folder(tmp_path_factory, models):
    """The shipped model's graphs, and a small model in all precisions."""
    found = tmp_path_factory.mktemp("exported")
    shutil.copy(model.find("c32-125"), found)
    export_graphs(found / "c32-125.onnx")
    for precision in ("fp16", "int8"):
        shutil.copy(models / f"{precision}.onnx", found / f"tiny-{precision}.onnx")
    return found


def alone(code, folder, *arguments):
    command = [sys.executable, "-c", ALONE + code, *arguments]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


READ = """
import sys, onnx, onnx.checker, onnx.printer
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
assert {entry.domain for entry in model.opset_import} == {""}
print(sorted({node.op_type for node in model.graph.node}))
print(onnx.printer.to_text(model))
"""

PORTABLE = {
    *("Add", "Cast", "Concat", "Conv", "Div", "MatMul", "Mul"),
    *("ReduceSum", "Relu", "Reshape", "Split", "Sqrt", "Sub", "Unsqueeze"),
}


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("c32-125.onnx", ["float[batch,3,125,125] patches", "float[batch,32,125,125] features"]),
        (
            "c32-125.localize.onnx",
            [
                "float[targets,3,3,125,125] pyramids",
                "float[targets,2,32,47,24] num",
                "float[targets,47,24] den",
                "float[targets,3,125,125] responses",
            ],
        ),
        ("c32-125.learn.onnx", ["float[targets,2,32,47,24] num", "float[targets,47,24] den"]),
        ("tiny-fp16.onnx", ["float[batch,3,49,49] patches", "float[batch,4,49,49] features", "float16"]),
        ("tiny-int8.onnx", ["float[batch,3,49,49] patches", "QuantizeLinear"]),
    ],
)
def test_onnx_alone_reads_checks_and_prints_them(folder, name, shapes):
    operators, _, text = alone(READ, folder, name).partition("\n")
    assert set(re.findall(r"\w+", operators)) <= PORTABLE | {"QuantizeLinear", "DequantizeLinear"}
    for shape in shapes:
        assert shape in text, shape
    assert '"spcnet.config": "{' in text and '"spcnet.sha256": "' in text


def test_the_docs_name_the_sizes_of_the_shipped_model():
    assert "For c32-125: N = 125, C = 32, S = 3, R = 47, K = 24." in DOCS.read_text()
