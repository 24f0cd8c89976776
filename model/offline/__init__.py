"""English referring expressions: read into queries, answered from masks, put back into words."""
