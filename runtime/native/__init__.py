"""Track by the C library (include/spcnet.h, src/): its model file, and a backend on top of it."""
