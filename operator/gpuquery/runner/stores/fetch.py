"""Parts of files, many at a time: sizes by LIST or HEAD, bytes by ranges.

Object stores are read through obstore, which waits for 64 answers at once without a thread for each; an image without
it makes do with boto3. Credentials are boto3's in both cases, so the pod's Secret, a session token and the token of a
cloud identity all work. Errors are those of the rest of the runner.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from botocore.exceptions import ClientError

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify, error_code, is_transient
from gpuquery.runner.stores import storage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from gpuquery.plan.plan import StoreAccess

T = TypeVar("T")

IN_FLIGHT = 64
"""Requests that wait for an answer at the same time."""
HEADS = 4
"""Up to so many files are asked for one by one, which needs no right to list."""
STRAY = 20_000
"""Objects beside the wanted ones after which a listing is given up and files are asked for one by one."""
_MISSING = {"NoSuchKey", "404"}


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file, from `start` to before `end`."""

    path: str
    start: int
    end: int


class Files(Protocol):
    """Where files are."""

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Size of each file in bytes. Raises JobError if one is not there or the store does not let it be seen."""
        ...

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read parts and hand each to `then` as it comes; returns what that returned, in the order of `parts`.

        `then` raises nothing but JobError.
        """
        ...


def files(path: str, access: StoreAccess) -> Files:
    """Return the way to a path of a plan and to its neighbours in the same bucket."""
    if "://" not in path or path.startswith("file://"):
        return Local()
    bucket = storage.locate(path).bucket
    try:
        import obstore  # noqa: F401
    except ImportError:
        return Boto3(bucket, access)
    return Obstore(bucket, access)


class Local:
    """Files of this machine."""

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """See `Files`."""
        try:
            return {path: self._path(path).stat().st_size for path in paths}
        except OSError as exc:
            raise classify(exc, "looking at the inputs") from exc

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """See `Files`."""
        return [then(part, self._bytes(part)) for part in parts]

    def _bytes(self, part: Part) -> bytes:
        try:
            with self._path(part.path).open("rb") as file:
                file.seek(part.start)
                return file.read(part.end - part.start)
        except OSError as exc:
            raise classify(exc, f"reading {part.path}") from exc

    @staticmethod
    def _path(path: str) -> Path:
        return Path(path.removeprefix("file://"))


class Boto3:
    """Objects of one bucket, without obstore."""

    def __init__(self, bucket: str, access: StoreAccess) -> None:
        self._bucket = bucket
        self._client = storage.s3_client(access)

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """See `Files`."""
        return _sizes(self._bucket, paths, self._list, self._heads)

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """See `Files`."""

        def one(part: Part) -> T:
            span = f"bytes={part.start}-{part.end - 1}"
            key = _key(part.path)

            def get() -> bytes:
                return self._client.get_object(Bucket=self._bucket, Key=key, Range=span)["Body"].read()

            return then(part, _patiently(get, part.path))

        with ThreadPoolExecutor(storage.CONNECTIONS) as pool:
            return list(pool.map(one, parts))

    def _list(self, prefix: str) -> Iterable[tuple[str, int]]:
        token: dict[str, str] = {}
        while True:
            page = _patiently(
                lambda: self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **token),  # type: ignore[arg-type]  # noqa: B023
                f"s3://{self._bucket}/{prefix}",
            )
            yield from ((item["Key"], item["Size"]) for item in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _heads(self, keys: Sequence[str]) -> list[int]:
        def one(key: str) -> int:
            where = f"s3://{self._bucket}/{key}"
            return _patiently(lambda: self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"], where)

        with ThreadPoolExecutor(storage.CONNECTIONS) as pool:
            return list(pool.map(one, keys))


class Obstore:
    """Objects of one bucket, through obstore."""

    def __init__(self, bucket: str, access: StoreAccess) -> None:
        self._bucket = bucket
        self._store = _store(bucket, access)

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """See `Files`."""
        return _sizes(self._bucket, paths, self._list, self._heads)

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """See `Files`."""
        import obstore

        async def one(part: Part) -> T:
            found = await obstore.get_range_async(self._store, _key(part.path), start=part.start, end=part.end)
            return then(part, bytes(found))

        return self._all(one, parts, [part.path for part in parts])

    def _list(self, prefix: str) -> Iterable[tuple[str, int]]:
        import obstore

        try:
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                yield from ((item["path"], item["size"]) for item in page)
        except Exception as exc:
            raise _classified(exc, f"s3://{self._bucket}/{prefix}") from exc

    def _heads(self, keys: Sequence[str]) -> list[int]:
        import obstore

        async def one(key: str) -> int:
            return (await obstore.head_async(self._store, key))["size"]

        return self._all(one, keys, [f"s3://{self._bucket}/{key}" for key in keys])

    @staticmethod
    def _all(one: Callable[[Any], Awaitable[T]], items: Sequence[Any], names: Sequence[str]) -> list[T]:
        async def everything() -> list[T]:
            gate = asyncio.Semaphore(IN_FLIGHT)

            async def gated(item: Any, name: str) -> T:
                async with gate:
                    try:
                        return await one(item)
                    except Exception as exc:
                        raise _classified(exc, name) from exc

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(gated(item, name)) for item, name in zip(items, names, strict=True)]
            return [task.result() for task in tasks]

        try:
            return asyncio.run(everything())
        except ExceptionGroup as group:  # the first error ended the others
            raise group.exceptions[0] from None


def _store(bucket: str, access: StoreAccess) -> Any:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    options = storage.store_options(access, f"s3://{bucket}/x")
    config = {name: value for name, value in options.items() if name.startswith("aws_") and name != "aws_allow_http"}
    if region := config.get("aws_region") or _region(bucket, access):
        config["aws_region"] = region
    try:
        credentials = Boto3CredentialProvider(storage.session())
    except ValueError as exc:  # boto3 has found none
        raise _classified(OSError("S3 error: Unable to locate credentials"), f"s3://{bucket}") from exc
    except Exception as exc:
        raise classify(exc, f"reading s3://{bucket}") from exc
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options={
            "timeout": options["timeout"],
            "connect_timeout": options["connect_timeout"],
            "allow_http": options.get("aws_allow_http") == "true",
        },
        retry_config={
            "max_retries": options["max_retries"],
            "retry_timeout": timedelta(milliseconds=options["retry_timeout_ms"]),
            "backoff": {"max_backoff": timedelta(milliseconds=options["retry_max_backoff_ms"])},
        },
        credential_provider=credentials,
    )


def _region(bucket: str, access: StoreAccess) -> str | None:
    """Ask AWS where a bucket is, as boto3 and Polars find out by themselves and obstore does not."""
    if named := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return named
    with contextlib.suppress(Exception):  # whatever is wrong, the first read tells it better
        headers = storage.s3_client(access, hurried=True).head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
        return headers.get("x-amz-bucket-region")
    return None


def _sizes(
    bucket: str,
    paths: Sequence[str],
    listing: Callable[[str], Iterable[tuple[str, int]]],
    heads: Callable[[Sequence[str]], list[int]],
) -> dict[str, int]:
    """Look sizes up in a listing of the folder that holds all files, and ask for what it does not show."""
    wanted = {_key(path): path for path in paths}
    found: dict[str, int] = {}
    if len(wanted) > HEADS:
        folder = posixpath.commonpath([posixpath.dirname(key) for key in wanted])
        for seen, (key, size) in enumerate(listing(f"{folder}/" if folder else ""), start=1):
            if key in wanted:
                found[wanted[key]] = size
            if len(found) == len(wanted) or seen - len(found) > STRAY:
                break
    missing = [key for key, path in wanted.items() if path not in found]
    return found | {wanted[key]: size for key, size in zip(missing, heads(missing), strict=True)}


def _key(path: str) -> str:
    return path.partition("://")[2].partition("/")[2]


def _patiently(request: Callable[[], T], where: str) -> T:
    """Try again what may pass, for as long as Polars and obstore would."""
    deadline, pause = time.monotonic() + storage.PATIENCE, 0.1
    while True:
        try:
            return request()
        except Exception as exc:
            if isinstance(exc, ClientError) and error_code(exc) in _MISSING:
                raise JobError(Failure.INVALID_INPUT, f"reading {where}: there is no such file") from exc
            if not is_transient(exc) or time.monotonic() + pause > deadline:
                raise classify(exc, f"reading {where}") from exc
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _classified(exc: Exception, where: str) -> Exception:
    if isinstance(exc, JobError):  # what was read was no good
        return exc
    # obstore's errors are told apart by their text, as Polars' are: both come from the same library.
    return classify(exc if isinstance(exc, OSError) else OSError(first_paragraph(exc)), f"reading {where}")
