"""Reports: one page about one or several runs of a benchmark."""
