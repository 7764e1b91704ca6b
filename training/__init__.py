"""Training: learn the backbone end to end through the correlation filter in joint scale-position space.

data sets (readers, or shards that were prepared) → tracks (annotated video) → pairs (the runtime's crops) →
network (backbone, filter, loss) → train (the loop) → checkpoint.
"""
