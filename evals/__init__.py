"""Evaluation: benchmarks, metrics, solvers, the runner, reports and synthetic data."""
