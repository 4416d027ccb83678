"""Probing: what is sent to each hop, phase by phase, and what is recorded of it."""
