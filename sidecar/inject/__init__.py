"""The sidecar put into Kubernetes manifests, as text: what is not inserted stays as it was, byte for byte."""
