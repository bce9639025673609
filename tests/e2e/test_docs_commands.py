"""The commands of the docs, run as they stand there: only the <placeholders> and `...` are filled in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from gpuquery.plan.dask import flags
from tests.e2e.conftest import install
from tests.e2e.jobs import Bench, fresh, tpch
from tests.support.certificates import Authority
from tools import demo
from tools.kubectl import ROOT
from tools.lake import PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = ("kubectl", "helm", "gpuquery", "make", "test ", "docker", "<uri>")
RUN_HERE = (
    "README.md",
    "docs/write-a-job.md",
    "docs/install.md",
    "docs/preflight.md",
    "docs/dask.md",
    "docs/security.md",
    "docs/sql.md",
)
BY_CI = (
    "make demo", "make test", "make venv", "make lint", "make unit", "make processes",
    'make test-releases RELEASES="26.04 26.10"',
)  # fmt: skip
ELSEWHERE = {
    "make images-push": "registry push", "make wheel": "`docker build`", "docker build": "`docker build`",
    "make test-faults": "`make test-faults`", "make test-dask-faults": "`make test-dask-faults`",
    "make test-tenants": "`make test-tenants`", "make azurite": "`make azurite`",
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


def yaml_blocks(file: str) -> list[str]:
    """Return every YAML of a page."""
    return [text for language, text in FENCE.findall((ROOT / file).read_text()) if language == "yaml"]


def first_job(file: str) -> str:
    """Return the first YAML of a page."""
    return yaml_blocks(file)[0]


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
        done = self._done(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, command: str) -> str:
        """Run one command, which must fail, and return what it says of that."""
        done = self._done(command)
        assert done.returncode != 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stderr

    def _done(self, command: str) -> subprocess.CompletedProcess[str]:
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
        return subprocess.run(
            command, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=200
        )


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
    (suspended,) = [each for each in yaml_blocks("docs/write-a-job.md") if "name: at-night" in each]
    (reader.folder / "at-night.yaml").write_text(suspended)
    uri = yaml.safe_load(text)["spec"]["output"]["uri"]
    clear(reader.bench, uri)
    reader.follow("docs/write-a-job.md", leave_out=("gpuquery run",))
    for command in commands("docs/write-a-job.md"):
        if command.startswith("gpuquery run"):
            clear(reader.bench, uri)
            reader.run(command if "--endpoint" in command else f"{command} --endpoint http://127.0.0.1:8333")


def test_the_commands_of_the_preflight_page_work(reader: Reader) -> None:
    text = first_job("docs/write-a-job.md")
    (reader.folder / "job.yaml").write_text(text)
    clear(reader.bench, yaml.safe_load(text)["spec"]["output"]["uri"])
    for command in commands("docs/preflight.md"):
        told = reader.run(f"{command} --endpoint http://127.0.0.1:8333")
        asked = "ConfigMap kube-public/gpuquery-defaults" in told
        assert asked is ("--no-cluster" not in command), told
        assert asked or "26.10" in told


def test_the_command_of_the_sql_page_shows_the_plan(reader: Reader) -> None:
    (reader.folder / "job.yaml").write_text(first_job("docs/write-a-job.md"))
    for command in commands("docs/sql.md"):
        told = reader.run(f"{command} --endpoint http://127.0.0.1:8333")
        assert "read " in told and "runs on" in told, told


def test_plan_says_no_where_the_cluster_does(reader: Reader) -> None:
    """The cluster of these tests has no image of a RAPIDS release."""
    document = yaml.safe_load(first_job("docs/write-a-job.md"))
    document["spec"]["engine"] = "rapidsmpf"
    (reader.folder / "job.yaml").write_text(yaml.safe_dump(document))
    told = reader.fails("gpuquery plan job.yaml --endpoint http://127.0.0.1:8333")
    assert "InvalidCombination" in told and "image" in told
    document["spec"]["engine"] = "cpu"
    document["metadata"]["namespace"] = "nowhere"
    (reader.folder / "job.yaml").write_text(yaml.safe_dump(document))
    told = reader.fails("gpuquery plan job.yaml --endpoint http://127.0.0.1:8333")
    assert 'refuses it: namespaces "nowhere" not found' in told


def test_the_log_command_of_the_docs_shows_the_whole_log(reader: Reader) -> None:
    (command,) = re.findall(r"`(kubectl logs [^`]*)`", (ROOT / "docs" / "write-a-job.md").read_text())
    (operators,) = re.findall(r"`(kubectl [^`]* logs [^`]*)`", (ROOT / "docs" / "install.md").read_text())
    bench, name = reader.bench, fresh("talkative")
    code = (
        "def query(inputs, params):\n    for n in range(40):\n        print('said', n)\n    return inputs['nation']\n"
    )
    bench.completed(bench.job(name, python=code, inputs=tpch("nation")))
    told = reader.run(f"{command.replace('<name>', name)} -n {bench.namespace}")
    assert "said 0\n" in told and "said 39\n" in told
    assert "leading" in reader.run(operators), "its beginning is there too"


def test_a_large_configmap_goes_by_server_side_apply_alone(reader: Reader) -> None:
    """As docs/limitations.md says: the API server takes 262,144 bytes of annotations."""
    (command,) = re.findall(r"`(kubectl apply --server-side [^`]*)`", (ROOT / "docs" / "limitations.md").read_text())
    query = "SELECT n_name FROM nation -- " + "x" * 890_000
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "queries"}, "data": {"q.sql": query}}
    (reader.folder / "queries.yaml").write_text(yaml.safe_dump(document, width=10**9))
    assert "may not be more than 262144 bytes" in reader.fails("kubectl apply -f queries.yaml")
    assert "queries" in reader.run(command)


def test_kubectl_still_reads_yaml_as_it_was_recorded(reader: Reader) -> None:
    """Where a number and a text are the same key, kubectl takes one of the two by chance: about one time in five."""
    recorded = json.loads((ROOT / "tests" / "unit" / "api" / "kubectl_yaml.json").read_text())["answers"]
    read = [answer for answer in recorded if "read" in answer]
    head = "apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec:\n"
    (reader.folder / "all.yaml").write_text("---\n".join(head + answer["yaml"] for answer in read))
    printed, items = reader.run("kubectl label --local -f all.yaml a=b -o json"), []
    while printed := printed.lstrip():
        item, end = json.JSONDecoder().raw_decode(printed)
        items.append(item)
        printed = printed[end:]
    assert len(items) == len(read)
    told = [(item["spec"], answer) for item, answer in zip(items, read, strict=True)]
    assert [(spec, one) for spec, one in told if spec not in (one["read"], one.get("or"))] == []


def test_the_command_of_the_dask_page_makes_a_secret_with_certificates(reader: Reader) -> None:
    for file in Authority(reader.folder).signed("client").iterdir():
        (reader.folder / file.name).write_bytes(file.read_bytes())
    reader.follow("docs/dask.md")
    made = yaml.safe_load(reader.run("kubectl get secret dask-client -o yaml"))
    assert sorted(made["data"]) == sorted(flags.TLS_FILES), "what the volume of the client's pod asks for"


def test_the_command_and_the_objects_of_the_page_on_security_are_taken(reader: Reader) -> None:
    cluster = reader.bench.cluster
    cluster.run("create", "namespace", "analytics", check=False)
    try:
        reader.follow("docs/security.md")
        told = cluster.get("namespace", "analytics")["metadata"]["annotations"]
        assert told["gpuquery.io/allow-images"] == "registry.example.com/analytics/*"
        objects = [yaml.safe_load(text) for text in yaml_blocks("docs/security.md") if "kind:" in text]
        assert {found["kind"] for found in objects} == {"NetworkPolicy", "ResourceQuota", "Role"}
        cluster.apply(*objects, namespace=reader.run("kubectl config view --minify -o jsonpath='{..namespace}'"))
    finally:
        cluster.run("delete", "namespace", "analytics")


@pytest.mark.alone
@pytest.mark.skipif("CONTEXT" in os.environ, reason="it reinstalls the operator")
def test_the_commands_of_the_install_page_work_in_their_order(reader: Reader) -> None:
    for namespace in ("analytics", "finance"):
        demo.ensure_namespace(reader.bench.cluster, namespace)
    try:
        reader.follow("docs/install.md")
    finally:
        install(reader.bench.cluster)
        reader.bench.cluster.run("delete", "namespace", "analytics", "finance", "--wait=false")
