"""Readers of data sets: each turns the layout of one format into tracks (training/sources.py has the list of them)."""
