"""Adapters of the benchmarks to other evaluation frameworks."""
