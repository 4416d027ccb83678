"""Voices, ears and agents: one vendor or engine a module, each behind gateway/speech.py."""
