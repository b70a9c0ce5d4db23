"""An engine in virtual time."""
