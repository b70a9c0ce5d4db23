"""What a model server is on this machine."""
