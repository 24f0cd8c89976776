"""Reports: one page of one or several runs of a benchmark."""
