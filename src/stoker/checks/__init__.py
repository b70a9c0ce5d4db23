"""What is wrong in these resources, and what to write instead."""
