"""The formats in which people have traffic, one a module."""
