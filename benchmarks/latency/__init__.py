"""How long a frame takes."""
