"""What a person sees: tables, the live view, one tick explained."""
