"""Train a backbone on your own tracks, export it, and track with it: python examples/train_own.py CONFIG.toml

CONFIG.toml names the data and the steps: docs/guides/train.md describes it, configs/ has those of the zoo.
The same from the command line is spcnet train CONFIG.toml, then spcnet export.
"""

import sys
from pathlib import Path

import spcnet
from spcnet.export.onnx import export_onnx
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import open_video
from spcnet.training.config import TrainConfig
from spcnet.training.train import Trainer

if len(sys.argv) != 2:
    sys.exit(__doc__)
trainer = Trainer(TrainConfig.from_toml(Path(sys.argv[1])), Path("run"))
checkpoint = trainer.run()  # beside it are the losses, for TensorBoard
print(f"{checkpoint}: loss {trainer.validation['loss']:.3f} on tracks that were held out")
model = export_onnx(checkpoint, Path("mine.onnx"))  # config and training are inside

with spcnet.Tracker(model.path) as tracker, open_video(DEMO_VIDEO) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, DEMO_BOX)
        elif number < 30:
            result = tracker.update(frame)
        else:
            break
print(f"{model.path}: {result.status.name}, score {result.score:.2f}")
