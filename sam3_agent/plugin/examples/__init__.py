"""Complete loops, one for each provider's SDK; run one with `python -m ... PICTURE QUESTION`."""
