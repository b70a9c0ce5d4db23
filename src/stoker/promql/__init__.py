"""Step 2, the query: PromQL text to a value at a moment."""
