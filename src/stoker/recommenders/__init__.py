"""Step 4, the recommendation: the replicas that would be right now."""
