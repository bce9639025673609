"""Runs in a pod of a release's image without a GPU and prints what it found as one line of JSON.

It imports all that an engine needs, translates two queries for the release's GPU engine, and measures the image.
"""

import asyncio
import importlib
import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

MODULES = ("cudf_polars", "ucxx", "rapidsmpf", "rapidsmpf.communicator.ucxx", "distributed_ucxx", "dask_cuda")
GPU_BYTES = 80 << 30


def timed(modules: tuple[str, ...]) -> dict[str, float]:
    """Seconds that each import takes; ucxx before rapidsmpf, because 26.04 finds libucxx_python in no other order."""
    took = {}
    for module in modules:
        began = time.monotonic()
        importlib.import_module(module)
        took[module] = round(time.monotonic() - began, 2)
    return took


def runner() -> list[str]:
    """Import every module of the runner; returns their names."""
    import gpuquery.runner

    root = pathlib.Path(gpuquery.runner.__file__).parent
    names = [
        ".".join(("gpuquery", "runner", *path.relative_to(root).with_suffix("").parts)) for path in root.rglob("*.py")
    ]
    for name in names:
        importlib.import_module(name.removesuffix(".__init__"))
    return sorted(names)


async def echo() -> bool:
    """Send a megabyte there and back over UCX, which opens its transports only when it connects."""
    import numpy as np
    import ucxx

    answered = asyncio.Event()

    async def answer(client: Any) -> None:
        received = np.empty(1 << 20, dtype="u1")
        await client.recv(received)
        await client.send(received)
        answered.set()

    listener = ucxx.create_listener(answer)
    server = await ucxx.create_endpoint("127.0.0.1", listener.port)
    sent = np.arange(1 << 20, dtype="u1")
    back = np.zeros_like(sent)
    await server.send(sent)
    await server.recv(back)
    await answered.wait()
    await server.close()
    return bool((sent == back).all())


def unsupported(folder: str) -> dict[str, list[str]]:
    """What the release's translator has against a query that a GPU can run, and one that it cannot."""
    import polars as pl
    from cudf_polars import Translator

    pl.DataFrame({"k": ["a", "b", "a"], "x": [1.0, 2.0, 3.0]}).write_parquet(f"{folder}/table.parquet")
    table = pl.scan_parquet(f"{folder}/table.parquet")
    release = tuple(int(part) for part in version_of("cudf-polars").split(".")[:2])
    # Without a GPU its size has to be said: by its name from 26.06 on, by what it would decide before.
    sized: dict[str, Any] = {"target_partition_size": 2 << 30, "broadcast_join_limit": 2}
    if release >= (26, 6):
        sized = {"min_device_size": GPU_BYTES}
    engine = pl.GPUEngine(executor="streaming", executor_options=sized, raise_on_fail=True)
    queries = {
        "supported": table.group_by("k").agg(pl.col("x").sum()).sort("k"),
        "unsupported": table.select(pl.col("x").ewm_mean(span=3)),
    }
    found = {}
    for name, query in queries.items():
        translator = Translator(query._ldf.visit(), engine)
        translator.translate_ir()
        found[name] = [str(error).splitlines()[0] for error in translator.errors]
    return found


def version_of(package: str) -> str:
    """Version of a package of RAPIDS, whose name ends with a CUDA version."""
    for cuda in (12, 13):
        try:
            return version(f"{package}-cu{cuda}")
        except importlib.metadata.PackageNotFoundError:
            continue
    raise SystemExit(f"{package} is not installed")


def image_bytes() -> int:
    """Size of the image's files, without what is mounted into it."""
    device, seen, total = os.stat("/opt").st_dev, set(), 0
    for top, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.lstat(f"{top}/{name}").st_dev == device]
        for name in files:
            entry = os.lstat(f"{top}/{name}")
            if entry.st_dev == device and entry.st_ino not in seen:
                seen.add(entry.st_ino)
                total += entry.st_size
    return total


def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "imports": timed(MODULES),
            "runner": runner(),
            "echo": asyncio.run(asyncio.wait_for(echo(), 60)),
            "unsupported": unsupported(folder),
            "versions": {"cudf-polars": version_of("cudf-polars"), "polars": version("polars")},
            "image": image_bytes(),
            "user": os.getuid(),
            "writable": os.access("/opt/venv", os.W_OK),
        }
    sys.stdout.flush()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
