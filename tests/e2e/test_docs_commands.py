"""The commands of the docs, run as they stand there: only the <placeholders> and `...` are filled in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gpuquery.plan import dask_flags
from tests.e2e.jobs import Bench, fresh
from tests.support.certificates import Authority
from tools import demo
from tools.kubectl import ROOT
from tools.lake import PORT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = ("kubectl", "helm", "gpuquery", "make", "test ", "docker", "<uri>")
RUN_HERE = ("README.md", "docs/write-a-job.md", "docs/install.md", "docs/preflight.md", "docs/dask.md")
BY_CI = ("make demo", "make test", "make venv", "make lint", "make unit", 'make test-releases RELEASES="26.04 26.10"')
ELSEWHERE = {
    "make images-push": "registry push", "make wheel": "`docker build`", "docker build": "`docker build`",
    "make test-faults": "`make test-faults`", "make test-dask-faults": "`make test-dask-faults`",
}  # fmt: skip
"""Commands that need a registry or Docker, or take long, and what docs/limitations.md calls them where it says which
were run, and when."""


def commands(file: str) -> list[str]:
    """Return the shell commands of a page, one a line, without prompts and remarks."""
    blocks = [text for language, text in FENCE.findall((ROOT / file).read_text()) if not language]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip() for line in lines if line.strip()]


def pages() -> list[str]:
    """Return the pages that have commands."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(p.relative_to(ROOT)) for p in found if commands(str(p.relative_to(ROOT)))]


@pytest.mark.parametrize("file", pages())
def test_every_command_of_the_docs_is_run_by_a_test(file: str) -> None:
    for command in commands(file):
        assert command.startswith(PROGRAMS), f"{file}: {command}"
        ran = file in RUN_HERE or command in BY_CI or command.startswith("<uri>")
        admitted = next((words for start, words in ELSEWHERE.items() if command.startswith(start)), None)
        assert ran or admitted, f"{file}: nobody runs {command!r}"
        assert not admitted or admitted in (ROOT / "docs" / "limitations.md").read_text()


def first_job(file: str) -> str:
    """Return the first YAML of a page."""
    found: str = next(text for language, text in FENCE.findall((ROOT / file).read_text()) if language == "yaml")
    return found


@dataclass(frozen=True)
class Reader:
    """Someone who follows a page: a folder with a job file, and a kubeconfig whose namespace is theirs."""

    bench: Bench
    folder: Path
    kubeconfig: Path

    def follow(self, file: str, *, leave_out: tuple[str, ...] = ()) -> None:
        """Run the commands of a page in their order."""
        for command in commands(file):
            if command not in BY_CI and not command.startswith(leave_out or ("\0",)):
                self.run(command)

    def run(self, command: str) -> str:
        """Run one command; it must succeed."""
        lake, cluster = self.bench.lake, self.bench.cluster
        for gap, filling in (
            ("AWS_ACCESS_KEY_ID=...", f"AWS_ACCESS_KEY_ID={lake.access_key}"),
            ("AWS_SECRET_ACCESS_KEY=...", f"AWS_SECRET_ACCESS_KEY={lake.secret_key}"),
            ("<host/folder>", cluster.registry),
            ("<tag>", cluster.tag),
            ("charts/gpuquery", str(ROOT / "charts" / "gpuquery")),
            ("http://127.0.0.1:8333", f"http://{lake.host}"),
        ):
            command = command.replace(gap, filling)
        tools = Path(sys.executable).parent
        environment = {
            **cluster.env(),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{tools}:{cluster.env()['PATH']}",
            "AWS_ACCESS_KEY_ID": lake.access_key,
            "AWS_SECRET_ACCESS_KEY": lake.secret_key,
        }
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(bench: Bench, tmp_path: Path) -> Iterator[Reader]:
    """A reader with a fresh namespace in which the store is called `lake`, as in the docs."""
    cluster, namespace = bench.cluster, fresh("reader")
    demo.ensure_namespace(cluster, namespace)
    host = f"lake.{bench.lake.namespace}.svc.cluster.local"
    alias = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lake"}}
    alias["spec"] = {"type": "ExternalName", "externalName": host, "ports": [{"port": PORT}]}  # type: ignore[assignment]
    cluster.apply(alias, namespace=namespace)
    config = yaml.safe_load(cluster.run("config", "view", "--minify", "--raw"))
    config["contexts"][0]["context"]["namespace"] = namespace
    config["current-context"] = config["contexts"][0]["name"]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(config))
    yield Reader(bench, tmp_path, kubeconfig)
    cluster.run("delete", "namespace", namespace, "--wait=false")


def clear(bench: Bench, uri: str) -> None:
    """Empty an output folder, so that a page's job finds it as its reader would."""
    for key in bench.keys(uri.removeprefix("s3://lake/").rstrip("/") + "/"):
        bench.lake.client().delete_object(Bucket="lake", Key=key)


def test_the_job_and_the_commands_of_the_readme_work(reader: Reader) -> None:
    text = first_job("README.md")
    (reader.folder / "job.yaml").write_text(text)
    clear(reader.bench, yaml.safe_load(text)["spec"]["output"]["uri"])
    reader.bench.cluster.apply(
        reader.bench.lake.credentials(),
        namespace=reader.run("kubectl config view --minify -o jsonpath='{..namespace}'"),
    )
    reader.follow("README.md")


def test_the_commands_of_the_job_page_work_in_their_order(reader: Reader) -> None:
    text = first_job("docs/write-a-job.md")
    (reader.folder / "job.yaml").write_text(text)
    uri = yaml.safe_load(text)["spec"]["output"]["uri"]
    clear(reader.bench, uri)
    reader.follow("docs/write-a-job.md", leave_out=("gpuquery run",))
    for command in commands("docs/write-a-job.md"):
        if command.startswith("gpuquery run"):
            clear(reader.bench, uri)
            reader.run(command if "--endpoint" in command else f"{command} --endpoint http://127.0.0.1:8333")


def test_the_command_of_the_preflight_page_works(reader: Reader) -> None:
    text = first_job("docs/write-a-job.md")
    (reader.folder / "job.yaml").write_text(text)
    clear(reader.bench, yaml.safe_load(text)["spec"]["output"]["uri"])
    for command in commands("docs/preflight.md"):
        told = reader.run(f"{command} --endpoint http://127.0.0.1:8333")
        assert "26.10" in told


def test_the_command_of_the_dask_page_makes_a_secret_with_certificates(reader: Reader) -> None:
    for file in Authority(reader.folder).signed("client").iterdir():
        (reader.folder / file.name).write_bytes(file.read_bytes())
    reader.follow("docs/dask.md")
    made = yaml.safe_load(reader.run("kubectl get secret dask-client -o yaml"))
    assert sorted(made["data"]) == sorted(dask_flags.TLS_FILES), "what the volume of the client's pod asks for"


@pytest.mark.skipif("CONTEXT" in os.environ, reason="it reinstalls the operator")
def test_the_commands_of_the_install_page_work_in_their_order(reader: Reader) -> None:
    for namespace in ("analytics", "finance"):
        demo.ensure_namespace(reader.bench.cluster, namespace)
    try:
        reader.follow("docs/install.md")
    finally:
        demo.install(reader.bench.cluster)
        reader.bench.cluster.run("delete", "namespace", "analytics", "finance", "--wait=false")
