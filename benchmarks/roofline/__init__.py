"""The roofline of this machine: the work of a frame, its least time here, and the share reached."""
