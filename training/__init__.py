"""Training: learn the backbone end to end through the correlation filter in joint scale-position space.

tracks (annotated video) → pairs (the runtime's crops) → network (backbone, filter, loss) → train (the loop) →
checkpoint.
"""
