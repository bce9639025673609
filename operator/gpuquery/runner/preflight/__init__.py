"""The preflight: everything about an attempt that can be known without a GPU, before one is paid for."""
