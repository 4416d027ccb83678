"""The table of Twilio's error codes. It is the gateway's, which logs their names."""

from gateway.meanings import MEANINGS, Meaning, meaning

__all__ = ["MEANINGS", "Meaning", "meaning"]
