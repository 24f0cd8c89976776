"""The benchmarks inside other evaluation frameworks."""
