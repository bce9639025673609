"""How large files are, as they lie in the store: asked of a few of them, which is enough to tell one partition from
many."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import storage

SAMPLED = 3


def sampled_bytes(paths: Sequence[str], store: StoreAccess) -> int:
    """Bytes of all the files, from the first, the middle and the last one; 0 for those that cannot be asked for."""
    if not paths:
        return 0
    asked = sorted({0, len(paths) // 2, len(paths) - 1})
    sizes = [_bytes(paths[n], store) for n in asked]
    return sum(sizes) * len(paths) // len(asked)


def _bytes(path: str, store: StoreAccess) -> int:
    try:
        if not path.startswith("s3://"):
            return os.stat(path.removeprefix("file://")).st_size
        place = storage.locate(path)
        answer = storage.s3_client(store, hurried=True).head_object(Bucket=place.bucket, Key=place.prefix)
        return int(answer["ContentLength"])
    except Exception:
        return 0
