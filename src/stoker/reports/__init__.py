"""From ticks and requests to tables and figures."""
