"""A resilient reverse proxy in front of one Go service."""

__version__ = "0.1.0"
