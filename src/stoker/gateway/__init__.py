"""The requests: one OpenAI endpoint in front of all models."""
