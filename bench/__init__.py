"""Measures this proxy beside Envoy, HAProxy and nginx, in one run, on one machine. See README.md."""
