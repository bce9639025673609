"""Settings: what a supervisor has to know of its set, from the plan, the environment and the token's file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.labels import RENDEZVOUS_PORT, TOKEN_DIRECTORY, TOKEN_KEY
from gpuquery.api.timing import LEAST_SILENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "gpuquery.runner.main"
RANKS, WHOLE = "ranks", "pods"
"""What `processes` of the plan is where there are several: one for each GPU, or one in each pod (`plan.Processes`)."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
POD_VARIABLE = "GPUQUERY_POD_NAME"
HUB_VARIABLE = "GPUQUERY_HUB"
FD_VARIABLE = "GPUQUERY_RANK_FD"
"""Where a rank process finds the socket to its supervisor."""
BEAT_OFFSET, TICK_OFFSET = 0.0, 0.1
"""When processes send theirs, and when supervisors tick and send theirs: in seconds after the full second, by the
clocks of nodes, which are synchronised anyway. So a supervisor wakes up once for all of them, and not once for each;
nothing else depends on it."""
MIN_TOKEN = 16
"""Bytes of the shortest token that is worth something."""


def until_next(offset: float, now: float) -> float:
    """Return the seconds from now (of the wall clock) to the next full second and `offset`; not below a half."""
    left = (offset - now) % 1.0
    return left if left >= 0.5 else left + 1.0


class SettingsError(Exception):
    """The pod was not given what it needs."""


@dataclass(frozen=True)
class Settings:
    """One pod of a set."""

    plan: Path
    index: int
    """Of the pod."""
    pods: int
    gpus: int
    """In each pod; 0: none, and one process nevertheless."""
    pod: str
    """Name of the pod."""
    coordinator: tuple[str, int]
    """Where index 0 answers."""
    token: bytes = field(repr=False)
    port: int = RENDEZVOUS_PORT
    """Where this pod answers."""
    silence: float = LEAST_SILENCE_SECONDS
    stall: float = 0.0
    """Seconds without progress of any process after which the set is taken for hung; 0: never."""
    program: str = PROGRAM
    """Module that each process runs."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of each process, but for what tells one from the other."""
    python: bool = False
    """Whether the query is the author's own code."""
    whole: bool = False
    """Whether each pod has one process, which sees all of the pod's GPUs."""
    alone: bool = False
    """Whether there is one process in all: it is watched from outside, and its report is the pod's."""
    external: bool = False
    """Whether that one runs the query on a cluster elsewhere, so that being up is not being ready."""

    @property
    def per_pod(self) -> int:
        """Processes in each pod."""
        return 1 if self.whole else max(1, self.gpus)

    @property
    def size(self) -> int:
        """Processes of the set."""
        return self.pods * self.per_pod

    @property
    def own(self) -> range:
        """Indexes of the processes of this pod."""
        return range(self.index * self.per_pod, (self.index + 1) * self.per_pod)

    def place(self, process: int, names: Mapping[int, str]) -> str:
        """Name a process for people: its pod, and its GPU if it has one to itself."""
        pod, number = divmod(process, self.per_pod)
        where = f"pod {names[pod]}" if pod in names else f"the pod of index {pod}, which has not come"
        return f"{where}, GPU {number}" if self.gpus and not self.whole else where

    def device(self, process: int) -> int | None:
        """Return the number of the pod's GPU that a process has to itself; None if it has none, or all."""
        return process % self.per_pod if self.gpus and not self.whole else None


def read(plan: Mapping[str, Any], path: Path, environment: Mapping[str, str], *, program: str, port: int) -> Settings:
    """Read them; raises SettingsError that names what is missing."""
    several = plan.get("processes") in (RANKS, WHOLE) and plan.get("version") == 1
    query = plan.get("purpose", "query") == "query"
    shared: dict[str, Any] = {
        "plan": path,
        "pod": environment.get(POD_VARIABLE) or os.uname().nodename,
        "port": port,
        "stall": float(plan.get("stallSeconds") or 0),
        "program": program,
        "environment": environment,
        "python": plan.get("language") == "python",
    }
    if not several or not query:
        external = query and isinstance(plan.get("dask"), dict)
        shared |= {"alone": True, "external": external}
        return Settings(index=0, pods=1, gpus=0, coordinator=("", 0), token=b"", **shared)
    pods, gpus = int(plan.get("replicas", 1)), int(plan.get("gpus", 0))
    index = environment.get(INDEX_VARIABLE, "0" if pods == 1 else "")
    if not index.isdigit() or int(index) >= pods:
        raise SettingsError(f'{INDEX_VARIABLE} is "{index}": the Job gives each of its {pods} pods a number from 0')
    coordinator = environment.get(HUB_VARIABLE, "")
    if not coordinator and int(index) > 0:
        raise SettingsError(f"{HUB_VARIABLE} is not set: it holds the address of index 0")
    return Settings(
        index=int(index),
        pods=pods,
        gpus=gpus,
        coordinator=_address(coordinator, port),
        token=_token(Path(environment.get("GPUQUERY_TOKEN_FILE") or Path(TOKEN_DIRECTORY, TOKEN_KEY)), pods),
        silence=float(plan.get("heartbeatSeconds") or LEAST_SILENCE_SECONDS),
        whole=plan.get("processes") == WHOLE,
        **shared,
    )


def _address(text: str, port: int) -> tuple[str, int]:
    host, _, number = text.rpartition(":")
    # An IPv6 address has more than one colon, and needs brackets before a port.
    if number.isdigit() and host and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(number)
    return text.strip("[]"), port


def _token(file: Path, pods: int) -> bytes:
    try:
        token = file.read_bytes().strip()
    except OSError as exc:
        if pods == 1:
            return os.urandom(MIN_TOKEN)  # no other pod is to come
        raise SettingsError(f"cannot read {file}: {exc.strerror}: the attempt's Secret is mounted there") from None
    if len(token) < MIN_TOKEN:
        raise SettingsError(f"{file} holds {len(token)} bytes: the attempt's token has at least {MIN_TOKEN}")
    return token
