"""The packages of each release, how a row of the table is compared with them, and Dask clusters of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.plan import releases
from tests.releases import dask_jobs, environments
from tests.releases.environments import CHECKED, CUDA, NAMED, python_of
from tests.support.dask_cluster import Warm
from tests.support.dask_pods import Pods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpuquery.plan.releases import Release

PROBE = Path(__file__).with_name("probe.py")


class Package:
    """The packages of one release, which answer questions."""

    def __init__(self, release: Release, python: Path, *, stub: bool = True) -> None:
        self.release = release
        env = {name: value for name, value in os.environ.items() if not name.startswith(("CUDF_POLARS", "RAPIDSMPF"))}
        if stub and release.name == "26.04":
            env["LD_LIBRARY_PATH"] = str(environments.nvml_stub(python.parents[1]))
        self._process = subprocess.Popen(
            [python, "-P", PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=env,
        )  # fmt: skip

    def ask(self, question: str, **arguments: Any) -> Any:
        """Return the answer; fail the test if the package cannot answer at all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": question, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failed": "the process ended"}
        if "failed" in answer:
            pytest.fail(f"{self.release.name}: {question}({arguments}) cannot be answered: {answer['failed']}")
        return answer["answer"]

    def configure(self, options: Any, **arguments: Any) -> Any:
        """Return the release's executor for options, or its error."""
        return self.ask("configure", options=options, **arguments)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def agree(release: Release, row: str, *, table: Any, package: Any) -> None:
    """Fail with the name of the release and of the row if the table and the package disagree."""
    if table != package:
        pytest.fail(f"{release.name}, {row}: the table says {table!r}, the package {package!r}", pytrace=False)


def about(*names: str) -> pytest.MarkDecorator:
    """Run a test for some releases only."""
    return pytest.mark.parametrize(
        "package", [name for name in CHECKED if name in names], indirect=True, scope="session"
    )


def rows(names: str, found: Callable[[Release], Iterable[Sequence[Any]]]) -> pytest.MarkDecorator:
    """Run a test for each row of each release."""
    known = [release for name in CHECKED if (release := releases.find(name))]
    values = [(release.name, *row) for release in known for row in found(release)]
    return pytest.mark.parametrize(f"package,{names}", values, indirect=["package"], scope="session", ids=str)


def started(release: Release, *, stub: bool = True) -> Package:
    """Start the probe of a release, or skip the test."""
    if not environments.lock(release.name, CUDA).exists():
        pytest.skip(f"{release.name} has no packages for CUDA {CUDA}")
    python = environments.python(release.name, CUDA)
    if python is None and release.name not in NAMED:
        pytest.skip(f"the packages of {release.name} are not installed: make test-releases RELEASES={release.name}")
    assert python is not None, f"make test-releases should have installed {release.name}"
    return Package(release, python, stub=stub)


@pytest.fixture(scope="session", params=CHECKED)
def package(request: pytest.FixtureRequest) -> Iterator[Package]:
    """The packages of one release."""
    release = releases.find(request.param)
    assert release is not None, f"{request.param} is no known release: {', '.join(releases.names())}"
    found = started(release)
    yield found
    found.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a table."""
    dask_jobs.write_table(tmp_path)
    return tmp_path


@pytest.fixture
def start(data: Path) -> Iterator[Callable[..., Pods]]:
    """Start the pods of an attempt on a Dask cluster."""
    made: list[Pods] = []

    def begin(release: str, engine: str, *, name: str = "job", own: bool = False, env: Any = None, **changes: Any) -> Pods:  # fmt: skip # noqa: E501
        folder = data / name
        folder.mkdir()
        wanted = dask_jobs.planned(data, release, engine, output={"uri": f"file://{folder}/out"}, **changes)
        made.append(Pods(python_of(release), folder, wanted, own=own, **{**dask_jobs.stub(release), **(env or {})}))
        return made[-1]

    yield begin
    for pods in made:
        pods.close()


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Callable[..., Warm]]:
    """Start a Dask cluster that is there already."""
    made: list[Warm] = []

    def begin(release: str, **given: Any) -> Warm:
        made.append(Warm(python_of(release), tmp_path / "warm", **given))
        return made[-1]

    yield begin
    for cluster in made:
        cluster.close()
