"""Planners that are multimodal LLMs behind an API: formats, retries, history, prices."""
