"""Ablations: what single parts of the agent contribute."""
