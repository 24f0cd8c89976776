"""The subcommands of `sam3-agent`, one to a file."""
