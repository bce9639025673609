"""A real one-node Kubernetes for tests, without Docker, systemd or an image registry."""
