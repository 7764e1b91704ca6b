"""The kernels as machine code: python -m spcnet.benchmarks.gpu.sass [--target 87 ...].

Prints for each kernel its registers, shared memory and occupancy, and of its hot loop, the innermost one with
the most arithmetic, the instructions and the share of them that multiplies and adds. It needs NVRTC and
nvdisasm (pip install nvidia-cuda-nvrtc nvidia-cuda-nvdisasm), no GPU.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from spcnet.runtime.cuda import compiler

THREADS = {  # of a block, as launch.py and backbone.py launch them
    "crop": 256, "conv": 256, "conv_by": 256, "conv_first": 128, "conv_next": 128, "conv_half_first": 128,
    "conv_half_next": 128, "rows_dft": 128, "rows_fft": 128, "respond_dft": 64, "respond_fft": 256,
    "colour_respond": 128, "colour_learn": 512, "locate": 128, "learn_dft": 64, "learn_fft": 256,
    "regress_keep": 256, "regress": 256,
}  # fmt: skip
REGISTER_COUNT = 0x2F  # the attribute of .nv.info
REGISTERS = 64 << 10  # of a multiprocessor, of every target
LIMITS = {  # target -> threads, blocks and KiB of shared memory of a multiprocessor (CUDA programming guide)
    75: (1024, 16, 64), 80: (2048, 32, 164), 86: (1536, 16, 100), 87: (1536, 16, 164), 89: (1536, 24, 100),
    90: (2048, 32, 228), 120: (1536, 24, 100),
}  # fmt: skip
TENSOR = 64  # multiply-adds of a thread in an HMMA
MATHS = ("FFMA", "FADD", "FMUL", "HMMA", "DFMA", "DADD", "DMUL", "MUFU")


class Code(NamedTuple):
    """A kernel of a cubin."""

    registers: int  # a thread
    shared: int  # static bytes a block
    spills: int  # instructions on local memory
    read_only: int  # loads through the read-only cache, which is not told what other blocks write
    size: int  # instructions
    loop: Counter[str]  # those of the hot loop by name; of the kernel, where it has no loop


def kernels(number: int, folder: Path = compiler.KERNELS) -> dict[str, Code]:
    """Every kernel of the folder, compiled for sm_<number>. Raises FileNotFoundError, CompileError."""
    able = [c for c in compiler.find_compilers() if c.name == "NVRTC" and number in c.targets]
    if not able:
        raise FileNotFoundError(f"no NVRTC compiles for sm_{number}; pip install nvidia-cuda-nvrtc")
    cubin = able[0].compile(compiler.source(folder), f"sm_{number}")
    resources = _resources(cubin)
    text = _disassemble(cubin)
    parts = re.split(r"^\.text\.(\w+):$", text, flags=re.MULTILINE)
    found = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = re.findall(
            r"^(\.L_x_\d+):|^\s+/\*\w+\*/\s+(?:@!?U?P\d+ )?\s*([A-Z][\w.]*)(.*);", body, re.MULTILINE
        )
        every = [operation for _, operation, _ in lines if operation]
        spills = sum(operation.startswith(("LDL", "STL")) for operation in every)
        read_only = sum(operation.startswith("LDG") and "CONSTANT" in operation for operation in every)
        found[name] = Code(*resources[name], spills, read_only, len(every), _hot(lines))
    return found


def _hot(lines: Sequence[tuple[str, str, str]]) -> Counter[str]:
    """The innermost loop with the most arithmetic; a loop is a label and a branch back to it."""
    places = {label: index for index, (label, _, _) in enumerate(lines) if label}
    loops = []
    for index, (_, operation, operands) in enumerate(lines):
        label = re.search(r"\.L_x_\d+", operands)
        start = places.get(label[0], index) if base(operation) == "BRA" and label else index
        if start < index and lines[start + 1][1] != "BRA":  # not the branch to itself after the end
            loops.append((start, index))
    inner = [one for one in loops if not any(one != o and one[0] <= o[0] and o[1] <= one[1] for o in loops)]
    counted = [Counter(base(o) for _, o, _ in lines[first : last + 1] if o) for first, last in inner]
    whole = Counter(base(o) for _, o, _ in lines if o)
    return max(counted, key=lambda loop: loop["FFMA"] + TENSOR * loop["HMMA"], default=whole)


def base(operation: str) -> str:
    """The name of an instruction without its modifiers."""
    return operation.split(".")[0]


def _resources(elf: bytes) -> dict[str, tuple[int, int]]:
    """Kernel -> registers and bytes of shared memory, by a cubin, which is a 64-bit ELF file."""
    (start,) = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<II4QIIQQ", elf, start + size * index) for index in range(count)]

    def text(table: tuple[int, ...], place: int) -> str:
        first = table[4] + place
        return elf[first : elf.index(b"\0", first)].decode()

    sections = {text(headers[names], header[0]): header for header in headers}
    symbols, info = sections[".symtab"], sections[".nv.info"]
    found, place = {}, info[4]
    while place < info[4] + info[5]:
        form, attribute, length = struct.unpack_from("<BBH", elf, place)
        if attribute == REGISTER_COUNT:
            symbol, registers = struct.unpack_from("<II", elf, place + 4)
            (name,) = struct.unpack_from("<I", elf, symbols[4] + 24 * symbol)
            kernel = text(sections[".strtab"], name)
            shared = sections.get(f".nv.shared.{kernel}")
            found[kernel] = registers, shared[5] if shared else 0
        place += 4 + (length if form == 4 else 0)
    return found


def _disassemble(cubin: bytes) -> str:
    package = find_spec("nvidia")
    folders = package.submodule_search_locations if package else None
    packaged = [str(path) for folder in folders or () for path in Path(folder).glob("cu*/bin")]
    program = shutil.which("nvdisasm") or shutil.which("nvdisasm", path=":".join(packaged))
    if program is None:
        raise FileNotFoundError("there is no nvdisasm; pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.check_output([program, "-c", file.name], text=True)


def threads(kernel: str) -> int:
    """Of a block."""
    return THREADS[re.sub(r"(_\d+)+$", "", kernel)]


def resident(number: int, threads: int, code: Code) -> int:
    """The blocks of this kernel that a multiprocessor has room for."""
    most, blocks, shared = LIMITS[number]
    warps = -(-threads // 32)
    by_registers = REGISTERS // (-(-code.registers // 8) * 8 * 32 * warps)
    by_shared = (shared << 10) // (code.shared + 1024)  # 1 KiB a block is the system's
    return min(blocks, by_registers, by_shared, most // threads)


def occupancy(number: int, threads: int, code: Code) -> float:
    """The share of a multiprocessor's threads that blocks of this kernel can fill."""
    return resident(number, threads, code) * threads / LIMITS[number][0]


def table(number: int) -> str:
    """Markdown."""
    lines = [
        f"| sm_{number} | registers | shared | occupancy | hot loop | FFMA | HMMA | other maths | memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, code in sorted(kernels(number).items()):
        loop, size = code.loop, sum(code.loop.values())
        others = sum(loop[one] for one in MATHS if one not in ("FFMA", "HMMA"))
        moved = sum(loop[one] for one in ("LDS", "STS", "LDG", "STG", "LDGSTS", "LDSM"))
        share = occupancy(number, threads(name), code)
        shares = (f"{100 * part / size:.0f} %" for part in (loop["FFMA"], loop["HMMA"], others, moved))
        cells = (name, code.registers, code.shared, f"{100 * share:.0f} %", size, *shares)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m spcnet.benchmarks.gpu.sass", description=__doc__.split(":")[0]
    )
    parser.add_argument("--target", type=int, action="append", choices=LIMITS, help="default: 87 and 90")
    try:
        for number in parser.parse_args(arguments).target or (87, 90):
            print(table(number), end="\n\n")
    except (FileNotFoundError, compiler.CompileError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
