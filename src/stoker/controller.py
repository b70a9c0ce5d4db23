"""The six steps on one screen."""
