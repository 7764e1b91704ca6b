"""Accuracy against time."""
