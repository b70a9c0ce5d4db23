"""Step 3, the trigger value: what a source says, against what the user wants of it."""
