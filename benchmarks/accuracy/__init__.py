"""Where the boxes are: annotated sequences, runs over them, scores."""
