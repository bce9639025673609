"""A kubectl whose cluster answers as a test says, and a folder that stands in for the bucket of the jobs' tables."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.labels import DEFAULTS_CONFIG_MAP

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATED = {"kind": "GpuQueryJob"}
POST = "/apis/gpuquery.io/v1alpha1/namespaces/{}/gpuqueryjobs?dryRun=All&fieldValidation=Strict"
SCRIPT = r"""#!/bin/sh
exec 3>> {log}
asked= made=
for word; do
    case $word in
    --request-timeout*) continue ;;
    --raw=*) path=${{word#--raw=}} ;;
    create) made=yes ;;
    esac
    asked=${{asked:-$word}}
    printf '%s\037' "$word" >&3
done
printf '\036' >&3
[ -z "$made" ] || cat >&3
printf '\035' >&3
case ${{path:-$asked}} in
{answers}
*) echo 'Error from server (NotFound): configmaps "x" not found' >&2; exit 1 ;;
esac
"""
"""In the shell: a test calls it several times, and an interpreter takes ten times as long to start."""


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
        cases = "\n".join(f"{quote(path)}) {_told(answer)} ;;" for path, answer in self.answers.items())
        script = self.folder / "kubectl"
        script.write_text(SCRIPT.format(log=quote(str(self.folder / "log")), answers=cases))
        script.chmod(0o755)

    def calls(self) -> list[tuple[list[str], str]]:
        told = [call.split("\036") for call in (self.folder / "log").read_text().split("\035")[:-1]]
        return [(words.split("\037")[:-1], sent) for words, sent in told]


def _told(answer: Mapping[str, Any] | str) -> str:
    if isinstance(answer, str):
        return f"printf '%s\\n' {quote(answer)} >&2; exit 1"
    return f"printf '%s\\n' {quote(json.dumps(answer))}"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A kubectl on the path whose context `test` has the namespace `lake` and an API server that takes every job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = FakeCluster(folder)
    made.tells("config", {"contexts": [{"name": "test", "context": {"namespace": "lake"}}]})
    made.tells("/api/v1/namespaces/lake", {"metadata": {}})
    made.tells(POST.format("lake"), CREATED)
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
