"""Run a model's portable graphs with ONNX Runtime and NumPy alone: python examples/portable_graphs.py MODEL

First write them: spcnet export CHECKPOINT -o MODEL.onnx --graphs. Nothing of spcnet is imported here.
"""

import json
import sys

import numpy as np
import onnxruntime as ort

if len(sys.argv) != 2:
    sys.exit(__doc__)
name = sys.argv[1].removesuffix(".onnx")
learn, localize = (ort.InferenceSession(f"{name}.{kind}.onnx") for kind in ("learn", "localize"))
config = json.loads(learn.get_modelmeta().custom_metadata_map["spcnet.config"])
n, mean = config["patch_size"], np.array(config["pixel_mean"], np.float32)[:, None, None]

# Cut your patches around the target; here one of noise stands for all scales.
patch = np.random.default_rng(0).uniform(0, 255, (3, n, n)).astype(np.float32) - mean
pyramids = np.stack([patch] * config["scales"])[
    None
]  # (T, S, 3, N, N), at scale_step ** (-1, 0, 1) of its size
num, den = learn.run(["num", "den"], {"pyramids": pyramids})

moved = np.roll(pyramids, (5, -3), (-2, -1))  # the next frame: 5 rows down, 3 columns left
# A model with a colour_weight above 0 also mixes the responses with those of runtime/colour.py;
# with a box_gain above 0 it also corrects the box by runtime/regression.py, from the output pyramid_features.
(responses,) = localize.run(["responses"], {"pyramids": moved, "num": num, "den": den})  # (T, S, P, P)
scale, *place = np.unravel_index(responses[0].argmax(), responses[0].shape)
p = responses.shape[-1]  # points of the response, n / p pixels apart; displacements wrap around
row, column = (((i + p // 2) % p - p // 2) * n / p for i in place)
print(f"moved by {row:g} rows, {column:g} columns")
