"""The tools that a planner may call on a scene."""
