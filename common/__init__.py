"""What measuring, training and exporting share: annotated video, metrics, and how results are written."""
