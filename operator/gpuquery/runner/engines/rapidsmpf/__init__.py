"""The engine `rapidsmpf`: its class, its options and its communicator."""

from gpuquery.runner.engines.rapidsmpf.engine import RapidsmpfEngine

__all__ = ["RapidsmpfEngine"]
