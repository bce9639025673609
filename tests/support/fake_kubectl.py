"""A kubectl whose cluster answers as a test says, and a folder that stands in for the bucket of the jobs' tables."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.labels import DEFAULTS_CONFIG_MAP

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATED = {"kind": "GpuQueryJob"}
POST = "/apis/gpuquery.io/v1alpha1/namespaces/{}/gpuqueryjobs?dryRun=All&fieldValidation=Strict"
SCRIPT = """#!{python}
import json, sys
answers = json.load(open({answers!r}))
words = [word for word in sys.argv[1:] if not word.startswith("--request-timeout")]
sent = sys.stdin.read() if "create" in words else ""
with open({log!r}, "a") as log:
    log.write(json.dumps([words, sent]) + "\\n")
path = next((w.removeprefix("--raw=") for w in words if w.startswith("--raw=")), words[0])
answer = answers.get(path, 'Error from server (NotFound): configmaps "x" not found')
if isinstance(answer, str):
    sys.exit(answer)
print(json.dumps(answer))
"""


@dataclass
class FakeCluster:
    """What kubectl answers: objects, or the words of an error, by path."""

    folder: Path
    answers: dict[str, Any] = field(default_factory=dict)

    def publishes(self, namespace: str = "kube-public", **settings: str) -> None:
        data = {f"GPUQUERY_{name.upper()}": value for name, value in settings.items()}
        self.tells(f"/api/v1/namespaces/{namespace}/configmaps/{DEFAULTS_CONFIG_MAP}", {"data": data})

    def tells(self, path: str, answer: Mapping[str, Any] | str) -> None:
        self.answers[path] = answer
        (self.folder / "answers.json").write_text(json.dumps(self.answers))

    def calls(self) -> list[tuple[list[str], str]]:
        return [tuple(json.loads(line)) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A kubectl on the path whose context `test` has the namespace `lake` and an API server that takes every job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = FakeCluster(folder)
    made.tells("config", {"contexts": [{"name": "test", "context": {"namespace": "lake"}}]})
    made.tells("/api/v1/namespaces/lake", {"metadata": {}})
    made.tells(POST.format("lake"), CREATED)
    script = SCRIPT.format(python=sys.executable, answers=str(folder / "answers.json"), log=str(folder / "log"))
    (folder / "kubectl").write_text(script)
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the bucket `lake`: what the preflight of an s3:// job would find."""
    from gpuquery.runner import local

    (tmp_path / "data").mkdir()
    pl.DataFrame({"n_name": ["FRANCE"]}).write_parquet(tmp_path / "data" / "a.parquet")
    here, real = f"file://{tmp_path}", local.preflight

    def preflight(plan: Any, **how: Any) -> Any:
        moved = tuple(i.model_copy(update={"uri": f"{here}/data/*{Path(i.uri).suffix}"}) for i in plan.inputs)
        output = plan.output.model_copy(update={"uri": f"{here}/out"})
        return real(plan.model_copy(update={"inputs": moved, "output": output}), **how)

    monkeypatch.setattr(local, "preflight", preflight)
    monkeypatch.chdir(tmp_path)
    return tmp_path
