"""The permit: one object for each attempt that says what may become of its files, in tables that know no fence.

    _staging/<uid>/<attempt>/permit       "commit <token of the process>", or "void"

The files of an attempt are complete objects, so anyone who takes the attempt for dead may remove them; and an attempt
that was taken for dead may wake up at any time and commit them. So whoever wants to do either creates this object
first, and exactly one gets it. An attempt that finds "void" never commits. Who finds "commit" removes nothing, unless
the table shows that the job is committed: then the attempt can add nothing any more, because the table is asked for the
job's UID by the very commit that would add it.

What lies there is a claim of whoever can write to the table's folder: it is bounded, and anything else than these two
lets nobody commit or remove. A permit that says "void" stays until the job has committed: an attempt is only as dead as
the object that says so.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import staging

if TYPE_CHECKING:
    from gpuquery.runner.stores.base import Store

NAME = "permit"
_VOID = b"void"
_COMMIT = re.compile(rb"commit [0-9a-f]{16}")
_TRIES = 3


class Permit:
    """The permit of one attempt, as one process sees it."""

    def __init__(self, uid: str, attempt: int) -> None:
        self._attempt = attempt
        self._key = f"{staging(uid, attempt)}/{NAME}"
        self._mine = f"commit {secrets.token_hex(8)}".encode()

    def check(self, store: Store) -> None:
        """Raise WorkerLost if this process may not commit any more."""
        self._judge(self._read(store))

    def take(self, store: Store) -> None:
        """Get the right to commit, for this process alone. Raises WorkerLost if another has taken it away."""
        for _ in range(_TRIES):
            if store.create(self._key, self._mine):
                return
            body = self._read(store)
            self._judge(body)
            if body is not None:  # an earlier try of this very call
                return
        raise self._odd(b"")  # it goes as often as it comes

    def void(self, store: Store) -> bool:
        """Take the right to commit away; whether nobody has it now, so that the attempt's files may be removed.

        A permit that this process has taken counts as void: it asks only after its own commit was refused for certain.
        """
        return store.create(self._key, _VOID) or self._read(store) in (_VOID, self._mine)

    def _read(self, store: Store) -> bytes | None:
        if (size := store.size(self._key)) is None:
            return None
        return store.get(self._key) if size <= len(self._mine) else b"?"

    def _judge(self, body: bytes | None) -> None:
        if body in (None, self._mine):
            return
        if body == _VOID:
            text = f"attempt {self._attempt} was given up for dead: it may not commit any more"
            raise JobError(Failure.WORKER_LOST, text)
        if body and _COMMIT.fullmatch(body):
            text = f"another process commits attempt {self._attempt}, so this one may not"
            raise JobError(Failure.WORKER_LOST, text)
        raise self._odd(body or b"")

    def _odd(self, body: bytes) -> JobError:
        return JobError(
            Failure.UNSAFE_STORE,
            f"{self._key} is {clean(repr(body), 60)}, and no GpuQuery runner writes that: the table's owner should "
            "find out who did, and may then delete it; nothing was committed",
        )
