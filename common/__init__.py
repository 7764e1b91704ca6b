"""Shared by measuring, training and exporting: annotated video, metrics, and how results are written."""
