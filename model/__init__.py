"""Segmenters and planners behind the two protocols, and the training of the tiny SAM 3."""
