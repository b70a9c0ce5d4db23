"""Step 1, the sample: what replicas expose, kept in memory with its time."""
