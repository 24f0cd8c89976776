"""An example of a package that extends sam3-agent; see docs/writing-a-planner.md."""
