"""One HTML page of all that was measured."""
