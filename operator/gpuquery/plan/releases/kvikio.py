"""The options of 26.10 that say how files are read: concurrent scans, and KvikIO, which reads them."""

from __future__ import annotations

from gpuquery.plan.releases.model import Option, OptionKind
from gpuquery.plan.releases.options import MIB, RAPIDSMPF, by_name

MAX_CONCURRENT_IO_TASKS = Option(
    name="max_concurrent_io_tasks",
    kind=OptionKind.MAPPING,
    bare=True,
    nullable=True,
    engines=RAPIDSMPF,
    fields=by_name(
        Option(name="local", kind=OptionKind.COUNT, default=2, least=1, about="For files of this machine."),
        Option(name="remote", kind=OptionKind.COUNT, default=8, least=1, about="For files of a store."),
    ),
    about="Most reads of one scan at the same time; one number stands for both.",
)
KVIKIO = (
    Option(
        name="kvikio_nthreads",
        kind=OptionKind.COUNT,
        least=1,
        nullable=True,
        engines=RAPIDSMPF,
        about="Threads that read local files, and with EASY_THREADPOOL all files; the default is 256 with "
        "EASY_THREADPOOL, else KvikIO's own, 4.",
    ),
    Option(
        name="kvikio_statistics",
        kind=OptionKind.BOOLEAN,
        unchecked=True,
        default=False,
        engines=RAPIDSMPF,
        about="Whether reads are counted and timed.",
    ),
    Option(
        name="kvikio_remote_io_backend",
        kind=OptionKind.CHOICE,
        default="MULTI_POLL",
        choices=("MULTI_POLL", "EASY_THREADPOOL"),
        engines=RAPIDSMPF,
        about="What reads files of a store: a few threads with many requests each, or one thread for each request.",
    ),
    Option(
        name="kvikio_task_size",
        kind=OptionKind.BYTES,
        least=1,
        engines=RAPIDSMPF,
        about="Size of the pieces into which reads are split; the default is 16 MiB with MULTI_POLL and 64 MiB with "
        "EASY_THREADPOOL.",
    ),
    Option(
        name="kvikio_bounce_buffer_bytes",
        kind=OptionKind.BYTES,
        default=16 * MIB,
        least=1,
        engines=RAPIDSMPF,
        about="Size of the host's buffers for transfers to the GPU; with MULTI_POLL at least kvikio_task_size.",
    ),
    Option(
        name="kvikio_reactor_count",
        kind=OptionKind.COUNT,
        default=24,
        least=1,
        engines=RAPIDSMPF,
        about="Threads of MULTI_POLL.",
    ),
    Option(
        name="kvikio_reactor_dispatch",
        kind=OptionKind.CHOICE,
        default="PER_CHUNK",
        choices=("PER_CHUNK", "PER_PREAD"),
        engines=RAPIDSMPF,
        about="Whether MULTI_POLL spreads the pieces of one read over its threads, or gives each read to one.",
    ),
    Option(
        name="kvikio_request_ceiling",
        kind=OptionKind.COUNT,
        default=256,
        least=0,
        engines=RAPIDSMPF,
        about="Most requests of MULTI_POLL at the same time; 0 is no limit.",
    ),
)
