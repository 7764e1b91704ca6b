"""python -m spcnet.benchmarks.gpu."""

from spcnet.benchmarks.gpu.run import main

raise SystemExit(main())
