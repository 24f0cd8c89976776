"""Planners that are multimodal LLMs behind an API: wire formats, faults, context, prices."""
