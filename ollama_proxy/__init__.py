"""A transparent reverse proxy in front of Ollama that records every call."""

__version__ = "0.1.0"
