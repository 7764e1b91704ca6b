"""Score result files of any tracker: python examples/evaluate.py TRUTH RESULT...

Each file has a line x,y,w,h for every frame, 0-based; commas, tabs or blanks. NaN in the truth marks a frame
where the target is absent, which does not count.
"""

import sys
from pathlib import Path

from spcnet.common.boxfile import read_boxes
from spcnet.common.metrics import measure, score

if len(sys.argv) < 3:
    sys.exit(__doc__)
truth = read_boxes(Path(sys.argv[1]))
for path in map(Path, sys.argv[2:]):
    results = read_boxes(path)
    auc, op, dp = score(results, truth)
    overlaps, _ = measure(results, truth)
    print(f"{path.stem}: AUC {auc:.3f}, OP@.5 {op:.3f}, DP@20 {dp:.3f}, worst overlap {overlaps.min():.2f}")
