"""Everything of one `stoker up`, put together."""
