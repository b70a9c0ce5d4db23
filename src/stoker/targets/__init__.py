"""Step 6, the replicas: make it so, and report what is."""
