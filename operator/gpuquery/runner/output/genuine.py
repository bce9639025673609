"""Whether a runner can have written what the log or a pending set says.

Records say which files to make visible and which to delete, and the next writer does so with its own rights. So nothing
in a record is believed unchecked: one that reaches out of the table, or speaks for another job, is refused. A writer of
a table can still damage that table, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.record import FENCE, ROLLBACK, CommitRecord, PendingSet, StagedFile, owner_of, parse_part
from gpuquery.runner.stores.base import DATA, leads_out, staging

if TYPE_CHECKING:
    from gpuquery.plan.plan import JobRef

Kind = TypeVar("Kind", CommitRecord, PendingSet)

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a run may call itself. Records have other names, too: runners before this rule took any."""
_LONGEST_UID = 1024
"""Characters of a key of S3, which the folder of an attempt has to be."""
_LONGEST = 253
"""Characters of a name in Kubernetes."""
_FOLDER = re.compile(r"[^/=\\]+=[^/\\]*")
_PART = "a path below data/ of a part file, in folders such as column=value or in none"
_UIDS = ", whose UID it names"
_LATER = ", the attempt that reads it (or this one was given up for dead, and a later one has committed)"

Rule = tuple[str, object, bool, str]
"""A field, its value, whether the value is right, and what would be."""
Uploads = Callable[[str, str, str], bool]
"""Store.can_be."""


def read_record(key: str, body: bytes, version: int, uploads: Uploads) -> CommitRecord:
    """Read the record that was found as `key` for a version. Raises UnsafeStore if no runner writes it."""
    record = _read(CommitRecord, key, body)
    check_record(key, record, version, uploads)
    return record


def read_pending(
    key: str, body: bytes, uid: str, attempt: int, uploads: Uploads | None, *, folder: str = ""
) -> PendingSet:
    """Read a pending set of an attempt. Raises UnsafeStore if no runner writes it.

    `uploads` is None in a table whose files are complete objects. Paths must begin with `folder`.
    """
    pending = _read(PendingSet, key, body)
    outside = [file.path for file in pending.files if not file.path.startswith(folder)]
    _check(key, [("files.path", path, False, f"below {folder}") for path in outside])
    inside = [file.model_copy(update={"path": file.path.removeprefix(folder)}) for file in pending.files]
    _check(key, _of_files("files", inside, uid, attempt, uploads))
    return pending


def check_record(key: str, record: CommitRecord, version: int, uploads: Uploads) -> None:
    """Raise UnsafeStore if a record is not what a runner writes as that version."""
    add, fence, back = record.add, record.mode == FENCE, record.mode == ROLLBACK
    rows, size = sum(file.rows for file in add), sum(file.bytes for file in add)
    _check(
        key,
        [
            ("version", record.version, record.version == version, f"{version}, as its name says"),
            ("job.uid", record.job.uid, len(record.job.uid) <= _LONGEST_UID and not leads_out(record.job.uid), "a UID"),
            ("job.namespace", record.job.namespace, len(record.job.namespace) <= _LONGEST, "a namespace's name"),
            ("job.name", record.job.name, len(record.job.name) <= _LONGEST, "a job's name"),
            ("add", len(add), not ((fence or back) and add), "empty in a fence or a rollback"),
            ("restores", record.restores, (record.restores or version) < version or not back, "an earlier version"),
            *_of_files("add", add, record.job.uid, record.attempt, uploads),
            ("remove", len(record.remove), not (fence and record.remove), "empty in a fence"),
            *((f"remove[{n}]", path, is_part(path), _PART) for n, path in enumerate(record.remove)),
            ("placeholder", record.placeholder, record.placeholder is None or is_part(record.placeholder), _PART),
            ("rows", record.rows, record.rows == rows, f"{rows}, the sum of its files"),
            ("bytes", record.bytes, record.bytes == size, f"{size}, the sum of its files"),
        ],
    )


def check_uid(uid: str) -> None:
    """Raise InvalidPlan for an identity that readers of its records would refuse: it is a folder's name too."""
    if not _UID.fullmatch(uid):
        raise JobError(
            Failure.INVALID_PLAN,
            f"{clean(uid, 120)!r} is no identity of a run: write up to 128 letters, digits, '.', '_' and '-', "
            "beginning with a letter or a digit",
        )


def check_mine(key: str, record: CommitRecord, job: JobRef, attempt: int) -> None:
    """Raise UnsafeStore if a record with this job's UID is not a commit of this job."""
    _check(
        key,
        [
            ("job.namespace", record.job.namespace, record.job.namespace == job.namespace, f"{job.namespace}{_UIDS}"),
            ("job.name", record.job.name, record.job.name == job.name, f"{job.name}{_UIDS}"),
            ("attempt", record.attempt, record.attempt <= attempt, f"at most {attempt}{_LATER}"),
        ],
    )


def check_marker(key: str, said: Sequence[object], record: CommitRecord) -> None:
    """Raise UnsafeStore if a marker (`key`) tells mode, attempt and UID of a version otherwise than its record does."""
    told = (record.mode, record.attempt, record.job.uid)
    fields = ("mode", "attempt", "job.uid")
    _check(key, [(f, s, s == t, f"{t}, as in its record") for f, s, t in zip(fields, said, told, strict=True)])


def bad(key: str, why: str) -> JobError:
    """Return the failure for an entry of the table's log that must not be acted upon."""
    return JobError(
        Failure.UNSAFE_STORE,
        f"{clean(key, 200)} is not what a GpuQuery runner writes: {why}. Nothing was deleted or moved for it. It is "
        "damaged or forged, or was written by a newer runner (then use the image of that release). The table's owner "
        "should find out who wrote it, and may then delete it, with the marker of its version, by hand; until then no "
        "job writes to this table",
    )


def is_part(path: str) -> bool:
    """Whether a path below data/ is that of a file that a runner may have written."""
    *folders, _ = path.split("/")
    return (
        parse_part(path) is not None
        and not leads_out(path)
        and path.isprintable()
        and all(_FOLDER.fullmatch(folder) for folder in folders)
    )


def _of_files(
    field: str, files: Sequence[StagedFile], uid: str, attempt: int, uploads: Uploads | None
) -> Iterator[Rule]:
    """Each file is one that this attempt of this job has staged."""
    place = staging(uid, attempt)
    for n, file in enumerate(files):
        path, upload = f"{field}[{n}].path", f"{field}[{n}].uploadId"
        yield path, file.path, is_part(file.path), _PART
        yield (
            path,
            file.path,
            parse_part(file.path) == (owner_of(uid), attempt),
            f"a file of attempt {attempt} of {uid}",
        )
        pieces = f"{field}[{n}].pieces"
        if uploads is None:
            yield upload, file.upload_id, not file.upload_id, "empty: the object is complete"
            yield pieces, file.pieces, not file.pieces, "empty: the object is complete"
        else:
            begun = bool(file.upload_id) and uploads(file.upload_id, DATA + file.path, place)
            yield upload, file.upload_id, begun, f"an upload of {place}/"
            yield pieces, file.pieces, bool(file.pieces), "what the store has said of each piece"


def _read(kind: type[Kind], key: str, body: bytes) -> Kind:
    try:
        return kind.model_validate_json(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise bad(key, f"{where} is {clean(repr(first['input']), 120)}: {clean(first['msg'], 200)}") from exc


def _check(key: str, rules: Iterable[Rule]) -> None:
    for field, value, right, wanted in rules:
        if not right:
            raise bad(key, f"{field} is {clean(repr(value), 120)}, and must be {clean(wanted, 200)}")
