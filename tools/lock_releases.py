"""Locks the packages of every RAPIDS release: `make lock-releases`, or `make lock-releases RELEASES="26.04 26.10"`.

A release's runtime image holds its cudf-polars with all that its engines need, and the runner's own dependencies in the
versions that the tests ran with; Polars comes in the one version that the release accepts. What goes in is written to
requirements/releases/<release>-cu<major>.in, for people to read; uv resolves it into the .txt beside it.

A new release is a new row of PINS.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.kubectl import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = ROOT / "requirements" / "releases"
COMMAND = "make lock-releases"
PYTHON = "3.11"
PLATFORM = "x86_64-manylinux_2_28"
"""What the wheels of RAPIDS are built for."""
HOLES = ("nvjitlink", "cuda-nvrtc")
"""Libraries that libcudf opens and that 25.08 to 26.08 do not ask for: on a machine without a CUDA toolkit,
`import cudf_polars` fails in 26.02 and 26.06 (libnvJitLink) and in 26.08 (libnvrtc)."""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What tells one release's packages from another's."""

    ucxx: str
    """Version line of UCXX, which is numbered on its own; 25.08 to 26.02 need it and do not ask for it."""
    extras: str
    """Extras of cudf-polars: multi-GPU parts and tracing."""
    cuda: tuple[int, ...] = (12, 13)
    """CUDA major versions with wheels."""


PINS: Mapping[str, Pins] = {
    "25.08": Pins(ucxx="0.45", extras="experimental", cuda=(12,)),
    "25.10": Pins(ucxx="0.46", extras="experimental"),
    "25.12": Pins(ucxx="0.47", extras="experimental,rapidsmpf,trace"),
    "26.02": Pins(ucxx="0.48", extras="experimental,rapidsmpf,trace"),
    "26.04": Pins(ucxx="0.49", extras="experimental,rapidsmpf,trace"),
    "26.06": Pins(ucxx="0.50", extras="dask,trace"),
    "26.08": Pins(ucxx="0.51", extras="dask,trace"),
    "26.10": Pins(ucxx="0.52", extras="dask,trace"),
}
"""By name of the release, oldest first."""


def locks() -> Iterator[tuple[str, int]]:
    """Release and CUDA major version of every lock."""
    return ((release, cuda) for release, pins in PINS.items() for cuda in pins.cuda)


def lock_file(release: str, cuda: int) -> Path:
    """Return the lock of a release; its input lies beside it and ends with .in."""
    return FOLDER / f"{release}-cu{cuda}.txt"


def wanted(release: str, cuda: int) -> str:
    """Return the input of a release's lock."""
    pins = PINS[release]
    year, month = (int(part) for part in release.split("."))
    line = f"{year}.{month}.*"  # 26.04 is 26.4.* to pip
    # From CUDA 13 on, NVIDIA's own packages have no suffix: their version says for which CUDA they are.
    suffix, own = (f"-cu{cuda}", "") if cuda < 13 else ("", f">={cuda},<{cuda + 1}")
    return "\n".join(
        [
            f"# Written by `{COMMAND}`: edit tools/lock_releases.py.",
            f"cudf-polars-cu{cuda}[{pins.extras}]=={line}",
            f"rapidsmpf-cu{cuda}=={line}",
            f"ucxx-cu{cuda}=={pins.ucxx}.*",
            f"distributed-ucxx-cu{cuda}=={pins.ucxx}.*",
            f"dask-cuda=={line}",
            *(f"nvidia-{hole}{suffix}{own}" for hole in HOLES),
            "# The runner's dependencies, without Polars, as the tests ran with them.",
            *runner_pins(),
            "",
        ]
    )


def runner_pins() -> list[str]:
    """Return the runner's locked dependencies without Polars, whose version the release decides."""
    pins = locked(ROOT / "requirements" / "runner.txt")
    return [f"{name}=={version}" for name, version in pins.items() if not name.startswith("polars")]


def locked(path: Path) -> dict[str, str]:
    """Return the versions that a lock file holds, by package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), flags=re.MULTILINE))


def lock(release: str, cuda: int) -> None:
    """Write the input of one lock and resolve it; versions that are locked already stay unless they must go."""
    target = lock_file(release, cuda)
    source = target.with_suffix(".in")
    source.write_text(wanted(release, cuda))
    uv = Path(sys.executable).parent / "uv"
    command = [
        str(uv), "pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links",
        "--python-version", PYTHON, "--python-platform", PLATFORM, "--custom-compile-command", COMMAND,
        str(source.relative_to(ROOT)), "-o", str(target.relative_to(ROOT)),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{target.name}: {done.stderr.strip()}")
    print(f"locked {target.name}: cudf-polars {locked(target)[f'cudf-polars-cu{cuda}']}", flush=True)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="all by default")
    chosen = parser.parse_args().releases or list(PINS)
    if unknown := set(chosen) - set(PINS):
        parser.error(f"unknown release: {', '.join(sorted(unknown))}; there are {', '.join(PINS)}")
    for release, cuda in locks():
        if release in chosen:
            lock(release, cuda)
    return 0


if __name__ == "__main__":
    sys.exit(main())
