"""The offline planner: tokenize, parse, query tree, execute on detections, answer text."""
