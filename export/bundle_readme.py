"""The README.md inside a bundle: what the files are, and what to do on the device."""

from __future__ import annotations

from spcnet.runtime import dcf
from spcnet.runtime.model import Model


def readme(name: str, found: Model) -> str:
    """Markdown for the bundle of this name; found is its FP32 model."""
    config = found.config
    n, m, channels, scales = config.patch_size, config.grid, config.channels, config.scales
    rows, band = (len(values) for values in dcf.frequencies(config))
    mean = ", ".join(f"{value:g}" for value in config.pixel_mean)

    def features(patches: int) -> str:
        """The output that only graphs with box regression have."""
        shape = f"(T, {patches}, {channels}, {m}, {m})"
        return f", `pyramid_features` {shape}" if config.box_gain > 0 else ""

    return f"""# {name}: a tracker for a device

`sha256sum -c SHA256SUMS` checks the copy. Then, on the device:

```sh
pip install "CHECKOUT[opencv,onnxruntime]"   # CHECKOUT: a clone of spcnet; add cuda for an NVIDIA GPU
spcnet build .               # first run: checks the sums, places the kernels, builds the TensorRT engine
spcnet track VIDEO --box X,Y,W,H --model {name}.onnx   # or the .engine that the build names
```

`spcnet build` may be run again: it leaves finished files alone. On a Jetson run it again after each update of
JetPack. `spcnet doctor` says what is missing.

| file | what it is | portable |
|---|---|---|
| `{name}.onnx` | the backbone in FP32, with the tracker's configuration | everywhere |
| `{name}-fp16.onnx`, `{name}-int8.onnx` | the same in lower precision | everywhere |
| `{name}.localize.onnx`, `{name}.learn.onnx` | backbone and filter, for any ONNX runtime | everywhere |
| `{name}.spcnet` | the model for the C library, libspcnet | everywhere |
| `kernels/*.fatbin` | the CUDA kernels, compiled | NVIDIA GPUs of the listed targets |
| `*.sm75.engine` ..., `.json` | TensorRT-RTX plans, built ahead | that GPU generation, Linux |
| `bundle.json` | name and configuration, to read | |

A file that is not here was left out when the bundle was made.

| graph | input | output |
|---|---|---|
| `{name}*.onnx` | `patches` (batch, 3, {n}, {n}) | `features` (batch, {channels}, {m}, {m}) |
| `localize` | `pyramids` (T, {scales}, 3, {n}, {n}), `num` (T, 2, {channels}, {rows}, {band}), \
`den` (T, {rows}, {band}) | `responses` (T, {scales}, {config.points}, {config.points}){features(scales)} |
| `learn` | `pyramids` (T, {config.learn_scales}, 3, {n}, {n}) | `num`, `den`{features(config.learn_scales)} |

All float32. A patch is B, G, R grey levels minus ({mean}), cut around the target with a context of
{config.padding:g} times its size; patch s of a pyramid is cut at {config.scale_step:g}^s times its size.
T targets. Axis 1 of `num` is real, imaginary.
"""
