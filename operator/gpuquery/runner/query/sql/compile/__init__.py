"""From a plan to a LazyFrame, for one target: the CPU, or GPUs of one RAPIDS release (`statement`)."""
