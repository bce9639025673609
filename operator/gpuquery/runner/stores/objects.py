"""Objects of one bucket, read through obstore, which waits for 64 answers at once without a thread for each.

It reads every kind of object store alike: a backend only makes the client.
"""

from __future__ import annotations

import asyncio
import posixpath
from typing import TYPE_CHECKING, Any, TypeVar

import obstore

from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores.base import Files, Found, Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from obstore.store import ObjectStore

T = TypeVar("T")

IN_FLIGHT = 64
"""Requests that wait for an answer at the same time."""
HEADS = 4
"""Up to so many files are asked for one by one, which needs no right to list."""
GLIMPSE = 1000
"""Keys of a folder that are looked at to say what it is."""
STRAY = 20_000
"""Objects beside the wanted ones after which a listing is given up and files are asked for one by one."""


class Objects(Files):
    """Objects of one bucket."""

    def __init__(self, root: str, store: ObjectStore) -> None:
        """`root` is the bucket's URI, without a slash at its end."""
        self._root = root
        self.store = store

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Look sizes up in a listing of the folder that holds all files, and ask for what it does not show."""
        wanted = {_key(path): path for path in paths}
        found: dict[str, int] = {}
        if len(wanted) > HEADS:
            folder = posixpath.commonpath([posixpath.dirname(key) for key in wanted])
            for seen, (key, size) in enumerate(self._list(f"{folder}/" if folder else ""), start=1):
                if key in wanted:
                    found[wanted[key]] = size
                if len(found) == len(wanted) or seen - len(found) > STRAY:
                    break
        missing = [key for key, path in wanted.items() if path not in found]
        return found | {wanted[key]: size for key, size in zip(missing, self._heads(missing), strict=True)}

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        """List the folder that the prefix ends in, and leave out what does not begin with the prefix.

        obstore lists whole folders only, and stops at a key that it takes for none of its own (`a//b`).
        """
        folder = prefix.rpartition("/")[0]
        try:
            if deep:
                for page in obstore.list(self.store, folder or None, chunk_size=1000):
                    yield [one for one in map(_found, page) if one.key.startswith(prefix)]
            else:
                answer = obstore.list_with_delimiter(self.store, folder or None)
                found = [*map(_found, answer["objects"]), *(Found(f"{one}/", 0) for one in answer["common_prefixes"])]
                yield [one for one in found if one.key.startswith(prefix)]
        except Exception as exc:
            raise _classified(exc, f"{self._root}/{prefix}") from exc

    one_level_by_pages = False

    def glimpsed(self, keys: Sequence[str]) -> list[Found]:
        """Ask for all keys at once."""

        async def one(key: str) -> list[Found]:
            if key.endswith("/"):
                async for page in obstore.list(self.store, key.rstrip("/"), chunk_size=GLIMPSE):
                    return [_found(one) for one in page]
                return []
            try:
                return [_found(await obstore.head_async(self.store, key))]
            except FileNotFoundError:
                return []

        return [one for some in self._all(one, keys, [f"{self._root}/{key}" for key in keys]) for one in some]

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Ask for each."""

        async def one(path: str) -> Found | None:
            try:
                return _found(await obstore.head_async(self.store, _key(path)))
            except FileNotFoundError:
                return None

        found = self._all(one, paths, paths)
        return {path: there for path, there in zip(paths, found, strict=True) if there is not None}

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read ranges."""

        async def one(part: Part) -> T:
            found = await obstore.get_range_async(self.store, _key(part.path), start=part.start, end=part.end)
            return then(part, bytes(found))

        return self._all(one, parts, [part.path for part in parts])

    def _list(self, prefix: str) -> Iterable[tuple[str, int]]:
        try:
            for page in obstore.list(self.store, prefix or None, chunk_size=1000):
                yield from ((item["path"], item["size"]) for item in page)
        except Exception as exc:
            raise _classified(exc, f"{self._root}/{prefix}") from exc

    def _heads(self, keys: Sequence[str]) -> list[int]:
        async def one(key: str) -> int:
            return (await obstore.head_async(self.store, key))["size"]

        return self._all(one, keys, [f"{self._root}/{key}" for key in keys])

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


def _found(one: Mapping[str, Any]) -> Found:
    return Found(one["path"], one["size"], (one["e_tag"] or "").strip('"'), one["last_modified"].timestamp())


def _key(path: str) -> str:
    return path.partition("://")[2].partition("/")[2]


def _classified(exc: Exception, where: str) -> Exception:
    if isinstance(exc, JobError):  # what was read was no good
        return exc
    # obstore's errors are told apart by their text, as Polars' are: both come from the same library.
    return classify(exc if isinstance(exc, OSError) else OSError(first_paragraph(exc)), f"reading {where}")
