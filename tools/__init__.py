"""What the demo, the tests and the benchmarks share: a chosen cluster, and an object store in it."""
