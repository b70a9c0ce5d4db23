"""Step 1, the sample: text in, series kept in memory."""
