"""A real Kubernetes for the lab and for tests: its certificates, its control plane, its nodes."""
