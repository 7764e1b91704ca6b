"""spcnet: train, export and run SPCNet, a tiny visual tracker for edge devices."""

__version__ = "0.1.0"
