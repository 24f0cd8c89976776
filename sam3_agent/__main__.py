"""`python -m sam3_agent` is `sam3-agent`."""

from sam3_agent.cli import run

run()
