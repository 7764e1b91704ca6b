#!/usr/bin/env bash
# Measure on a machine that is lent for minutes, and from which nothing can be fetched; run from the repository's root.
#
#   benchmarks/gpu/lease.sh pack FOLDER [PYTHON]   here: what it lacks for its Python (python3.12), a few MB of wheels
#   benchmarks/gpu/lease.sh first FOLDER OUT       there, with FOLDER: checks, boxes, times, in ten minutes
#   benchmarks/gpu/lease.sh second FOLDER OUT      compute-sanitizer, the C library, a profile of each kernel of base
#
# Sequences of OTB or UAV123 in FOLDER/sequences are compared with the CPU, too.
# There it needs NumPy, OpenCV, ONNX Runtime, Rich, psutil, a compiler of CUDA and of C++. OUT gets a few files of less than
# 1 MB each, and after each step what there is.
set -euo pipefail
work=${1:?pack, first or second} wheels=$(realpath -m "${2:?a folder of wheels}") root=$PWD

if [ "$work" = pack ]; then
    python=${3:-python3.12}
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mkdir -p "$wheels"
    cp "$("$python" tests/emulator/pycuda_wheel.py --optimised | tail -1)" "$wheels"
    "$python" -m pip download -q -d "$wheels" --python-version "$version" --only-binary :all: \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 mako platformdirs pytools threadpoolctl nvidia-ml-py
    du -sh "$wheels"
    exit
fi

out=$(realpath -m "${3:?a folder for the results}")
place=$(mktemp -d)
mkdir -p "$out" "$place/site"
trap 'rm -rf "$place"' EXIT
ln -s "$root" "$place/site/spcnet"
python3 -m pip install -q --no-index --no-deps --target "$place/site" "$wheels"/*.whl
export PYTHONPATH=$place/site:$root/tests PYTHONUNBUFFERED=1
cd "$place" # not in the repository, whose folders would be imported by their own names
{
    if [ "$work" = first ]; then
        sequences=$wheels/sequences
        [ -d "$sequences" ] || sequences=
        timeout 580 python3 -m spcnet.benchmarks.gpu ${QUICK:+--quick} ${sequences:+--sequences "$sequences"} -o "$out"
    else
        timeout 330 python3 -m spcnet.benchmarks.gpu --quick --only checks --sanitize -o "$out"
        timeout 120 python3 "$root/tests/native_boxes.py" > "$out/native.txt"
        if command -v ncu; then
            timeout 120 ncu --set detailed --launch-count 40 \
                python3 -m spcnet.benchmarks.gpu --quick --only frames -o "$place" > "$out/profile.txt"
        fi
    fi
} 2>&1 | tee "$out/log.txt"
