"""Synthetic scenes with exact truth: composed of icons, asked about in generated English."""
