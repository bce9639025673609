"""GpuQuery: a Kubernetes operator for multi-GPU query clusters."""
