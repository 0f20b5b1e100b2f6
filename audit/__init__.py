"""What the project pulls in, looked over: `python -m audit`. No part of the sidecar, and knows nothing of it."""
