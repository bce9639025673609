"""Flags of `dask cuda worker`: which a job may set, with which values, in which release, and how they are
written.

Names and types are those of `dask_cuda/cli.py` of dask-cuda 25.8 to 26.10, which all releases share except for those
that their row excludes. Conflicts are those that `dask_cuda/plugins.py` (RMMSetup) and `dask_cuda/cuda_worker.py`
refuse or ignore.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from gpuquery.plan import releases
from gpuquery.plan.releases.values import OptionError, shown, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.plan.releases import Release

WHERE = "dask.workerOptions"
_MOST_DIGITS = 20
_NOT_NEGATIVE = re.compile(r"[0-9]+([.][0-9]+)?")


class Kind(Enum):
    """Type of a flag's value."""

    SIZE = auto()
    """Bytes, a text such as 40GB, or a fraction of the memory."""
    SPILL = auto()
    """The same, or auto."""
    SWITCH = auto()
    """A flag with an opposite."""
    COUNT = auto()


@dataclass(frozen=True)
class Flag:
    """A flag of `dask cuda worker`."""

    kind: Kind
    allocator: bool = False
    """Whether it is about RMM's memory resource, which a DaskEngine replaces with its own."""


FLAGS: Mapping[str, Flag] = {
    "device-memory-limit": Flag(Kind.SPILL),
    "memory-limit": Flag(Kind.SPILL),
    "rmm-pool-size": Flag(Kind.SIZE, allocator=True),
    "rmm-maximum-pool-size": Flag(Kind.SIZE, allocator=True),
    "rmm-release-threshold": Flag(Kind.SIZE, allocator=True),
    "rmm-async": Flag(Kind.SWITCH, allocator=True),
    "rmm-managed-memory": Flag(Kind.SWITCH, allocator=True),
    "rmm-track-allocations": Flag(Kind.SWITCH, allocator=True),
    "enable-cudf-spill": Flag(Kind.SWITCH),
    "cudf-spill-stats": Flag(Kind.COUNT),
    "enable-jit-unspill": Flag(Kind.SWITCH),
    "enable-tcp-over-ucx": Flag(Kind.SWITCH),
    "enable-infiniband": Flag(Kind.SWITCH),
    "enable-nvlink": Flag(Kind.SWITCH),
    "enable-rdmacm": Flag(Kind.SWITCH),
}
"""Flags that a job may set."""
OURS = frozenset(
    {
        "protocol", "interface", "host", "worker-port", "listen-address", "contact-address", "nthreads", "name",
        "resources", "pid-file", "local-directory", "shared-filesystem", "scheduler-file", "preload", "death-timeout",
        "dashboard", "dashboard-address", "dashboard-prefix", "tls-ca-file", "tls-cert", "tls-key", "worker-class",
        "pre-import", "multiprocessing-method", "rmm-log-directory", "set-rmm-allocator-for-libs",
    }
)  # fmt: skip
"""Flags that the operator sets when it starts the workers, or that do not affect a query."""
ALLOCATORS = ("rmm-pool-size", "rmm-async", "rmm-managed-memory")
NANNY = "gpuquery.runner.engines.dask.preloads.nanny"
"""Module that nannies load first."""
VARIABLES: Mapping[str, str] = {
    # The data of a dead worker is lost and the worker is not restarted, so no task is retried elsewhere.
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    # The kernel enforces the pod's memory limit. A paused worker would block all the others.
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
    # A nanny would silently start another worker: with this preload it ends, and says why.
    "DASK_DISTRIBUTED__NANNY__PRELOAD": f"['{NANNY}']",
}
"""Variables of all Dask processes in a job's own cluster, native or not; a job cannot set them."""
TLS_FILES: Mapping[str, str] = {
    "ca.crt": "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
    "tls.crt": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
    "tls.key": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY",
}
"""Keys of a Secret with certificates, and the variables with which a Dask client finds them (`distributed.yaml` of
distributed 2025.7 to 2026.7)."""
TLS_ONLY: Mapping[str, str] = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
"""Makes a Dask client refuse any connection without TLS."""


def checked(options: Mapping[str, Any], release: Release) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the valid flags, with sizes as text, and the errors of the others."""
    good: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in options.items():
        try:
            good[name] = _read(_known(name, release), value)
        except OptionError as wrong:
            problems.append(f"{WHERE}.{name}: {shown(value)} {wrong}")
    return good, (*problems, *_together(good))


def complete(options: Mapping[str, Any], release: Release) -> Mapping[str, Any]:
    """Return checked flags with the defaults that a release needs."""
    if release.dask.own_resource or any(options.get(name) not in (None, False) for name in ALLOCATORS):
        return dict(options)
    return {**options, "rmm-async": options.get("rmm-async", True)}


def arguments(options: Mapping[str, Any]) -> list[str]:
    """Return the words of the command line for flags of a plan."""
    words: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--{_opposite(name)}")
        else:
            words += [f"--{name}", str(value)]
    return words


def _opposite(name: str) -> str:
    return f"disable-{name.removeprefix('enable-')}" if name.startswith("enable-") else f"no-{name}"


def _known(name: str, release: Release) -> Flag:
    flag = FLAGS.get(name)
    if flag is None:
        if name in OURS:
            raise OptionError("is set, but this flag belongs to the operator: leave it out")
        bare = name.lstrip("-").replace("_", "-")
        near = difflib.get_close_matches(bare, FLAGS, n=1)
        way_out = f"did you mean {near[0]}?" if near else f"use {', '.join(FLAGS)}"
        raise OptionError(f"is set, but `dask cuda worker` has no flag --{name} that a job may set: {way_out}")
    if name in release.dask.without:
        last = releases.those(lambda one: name not in one.dask.without)[-1]
        raise OptionError(
            f"is set, but RAPIDS {release.name} has no flag --{name}: leave it out, or use release {last} or older"
        )
    if flag.allocator and release.dask.own_resource:
        first = releases.those(lambda one: one.dask.own_resource)[0]
        raise OptionError(
            f"is set, but from RAPIDS {first} on the engine gives each worker its own memory resource, and "
            "one beside it would take the same memory twice: leave it out, or set "
            "CUDF_POLARS__MEMORY_RESOURCE_CONFIG__QUALNAME and __OPTIONS in template.spec.env"
        )
    return flag


def _read(flag: Flag, value: Any) -> Any:
    match flag.kind:
        case Kind.SWITCH:
            if not isinstance(value, bool):
                raise OptionError("is neither true nor false: write true or false without quotes")
            return value
        case Kind.COUNT:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise OptionError("is not a whole number of at least 0: write digits without quotes")
            return value
        case Kind.SPILL if value == "auto":
            return value
        case _:
            return _size(value)


def _size(value: Any) -> str:
    """Read bytes or a fraction of the memory: a number up to 1 is a fraction, as in dask-cuda."""
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(text) > _MOST_DIGITS:
        raise OptionError("is not a size: write a fraction such as 0.8, or bytes such as 40GB or 40GiB")
    if _NOT_NEGATIVE.fullmatch(text):
        if float(text) > 1 and not float(text).is_integer():
            raise OptionError("is not a whole number of bytes: write a fraction up to 1, or bytes such as 40GB")
        return text
    try:
        return str(size(text))
    except OptionError:
        raise OptionError("is not a size: write a fraction such as 0.8, or bytes such as 40GB or 40GiB") from None


def _together(good: Mapping[str, Any]) -> list[str]:
    """Return the conflicts between flags."""
    found = []
    if good.get("rmm-async") and good.get("rmm-managed-memory"):
        found.append(f"{WHERE}.rmm-async: true and rmm-managed-memory exclude each other: keep one of them")
    if good.get("enable-nvlink") and good.get("rmm-managed-memory"):
        found.append(f"{WHERE}.enable-nvlink: true and rmm-managed-memory exclude each other: keep one of them")
    if "rmm-release-threshold" in good and not good.get("rmm-async"):
        found.append(f"{WHERE}.rmm-release-threshold: needs the asynchronous allocator: set rmm-async: true")
    if "rmm-maximum-pool-size" in good and not (good.get("rmm-async") or "rmm-pool-size" in good):
        found.append(f"{WHERE}.rmm-maximum-pool-size: bounds a pool: set rmm-pool-size or rmm-async: true")
    if "cudf-spill-stats" in good and not good.get("enable-cudf-spill"):
        found.append(f"{WHERE}.cudf-spill-stats: counts what cuDF spills: set enable-cudf-spill: true")
    return found
