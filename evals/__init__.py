"""Benchmarks, metrics and synthetic scenes."""
