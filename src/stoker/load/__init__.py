"""OpenAI traffic on purpose: open and closed loop."""
