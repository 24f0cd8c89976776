"""Strategies: ways from an image and a query to masks, all run by the same harness."""
