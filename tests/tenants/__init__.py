"""What one tenant can do to the others: attacks on a control plane of its own, beside another tenant's small job."""
