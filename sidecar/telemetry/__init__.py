"""What the sidecar tells of itself: metrics, access log, the rest of the log."""
