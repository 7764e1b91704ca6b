"""Benchmarks: accuracy by one-pass evaluation, latency by stage; nothing in the runtime imports this."""
