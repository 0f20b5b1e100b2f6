"""Decisions: synchronous, pure, the clock is an argument. No event loop, no sockets."""
