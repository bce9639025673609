"""`up` starts what has ended and never takes away what etcd holds; `down` does.

The parts are small programs of the same names in a folder of the test, and the kernel's network and cgroups are left
alone: what is tested is who is started, who is left alone, and what is kept.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from node import bringup, build, parts, process, teardown
from node.layout import Layout, RefusedError
from node.parts import Options

PROGRAM = f"""#!{sys.executable}
import os, time
with open(os.environ["GPUQUERY_ONENODE_PART"] + ".serves", "w") as serves:
    serves.write(str(os.getpid()))
time.sleep(120)
"""
BROKEN = f"#!{sys.executable}\nimport time\ntime.sleep(0.3)\nprint('panic: no space left')\nraise SystemExit(2)\n"


class Machine:
    """A cluster that is up, in folders of the test."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout.from_env(
            {"GPUQUERY_CLUSTER_DIR": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
        )
        self.programs = build.programs(self.layout)
        self.done: list[str] = []
        self.bridge = True
        self.programs.mkdir(parents=True)
        for part in bringup.PARTS:
            self.program(part, PROGRAM)
        self.marker = self.layout.state / "etcd" / "member" / "precious"
        self.marker.parent.mkdir(parents=True)
        self.marker.write_text("jobs of a week")
        for written in (self.layout.logs, self.layout.conf):
            written.mkdir()
        for path, text in parts.files(self.layout, self.programs).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.layout.pki.mkdir()
        self.layout.kubeconfig.write_text("{}")
        self.layout.containerd_socket.touch()
        self.layout.options.write_text(json.dumps(asdict(Options())))
        for part in bringup.PARTS:
            process.start(self.layout, part, [part], self.programs)
        self.until(lambda: self.serving() == set(bringup.PARTS))

    def program(self, name: str, text: str) -> None:
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def pids(self) -> dict[str, int]:
        """The parts that run."""
        return {p.part: p.pid for p in process.of(self.layout) if p.command[:15] == p.part[:15]}

    def serving(self) -> set[str]:
        """The parts that do their work by now: one that was just started, and will fail, is not among them."""
        said = {part: self.layout.state / f"{part}.serves" for part in bringup.PARTS}
        return {part for part, pid in self.pids().items() if said[part].exists() and said[part].read_text() == str(pid)}

    def end(self, *names: str) -> None:
        for name, pid in self.pids().items():
            if name in names:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    @staticmethod
    def until(check: Any) -> None:
        deadline = time.monotonic() + 10
        while not check():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def up(self, options: Options | None = None) -> str:
        return bringup.up(self.layout, options or Options())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A cluster that is up; nothing outside of the test's folder is touched."""
    made = Machine(tmp_path)
    node = {"status": {}}

    def answers(*needed: str) -> bool:
        return set(needed) <= made.serving()

    api = SimpleNamespace(
        ready=lambda _: answers("etcd", "kube-apiserver"),
        node=lambda _: node if answers("kubelet") else None,
        is_ready=lambda found: found is not None,
        gpus=lambda _: Options().gpus,
        set_gpus=lambda *_: made.done.append("gpus"),
        get=lambda *_: {},
        answers=lambda _: True,
    )
    network = SimpleNamespace(
        bridge_exists=lambda: made.bridge, create=lambda _: made.done.append("network"), remove=list
    )
    monkeypatch.setattr(bringup, "api", api)
    monkeypatch.setattr(bringup, "network", network)
    monkeypatch.setattr(teardown, "network", network)
    cgroup = SimpleNamespace(create=lambda: made.done.append("cgroup"), remove=lambda: False)
    monkeypatch.setattr(bringup, "cgroup", cgroup)
    monkeypatch.setattr(teardown, "cgroup", cgroup)
    monkeypatch.setattr(bringup, "images", SimpleNamespace(load_archive=lambda *_: made.done.append("pause")))
    monkeypatch.setattr(bringup, "_refuse_second_cluster", lambda _: None)
    monkeypatch.setattr(bringup, "_fresh", lambda *_: pytest.fail("an empty cluster was made"))
    monkeypatch.setattr(bringup, "PATIENCE", 5.0)
    monkeypatch.setattr(process, "programs", lambda _: made.programs)  # a script's own program is Python's
    # A stranger's socket in place of containerd's: it is there once containerd runs.
    monkeypatch.setattr(process, "start", _with_socket(process.start))
    yield made
    made.end(*bringup.PARTS)


def _with_socket(start: Any) -> Any:
    def started(layout: Layout, part: str, *rest: Any) -> process.Running:
        if part == "containerd":
            assert not layout.containerd_socket.exists(), "the socket of the one before would be taken for its own"
            layout.containerd_socket.touch()
        return start(layout, part, *rest)  # type: ignore[no-any-return]

    return started


@pytest.mark.parametrize("missing", bringup.PARTS)
def test_a_part_that_has_ended_is_started_and_the_others_are_left_alone(machine: Machine, missing: str) -> None:
    before = machine.pids()
    machine.end(missing)
    assert f"started {missing}" in machine.up()
    machine.until(lambda: set(machine.pids()) == set(bringup.PARTS))
    after = machine.pids()
    assert {part for part in after if after[part] != before[part]} == {missing}
    assert machine.marker.read_text() == "jobs of a week"
    assert "network" not in machine.done


def test_where_every_part_has_ended_all_come_back_with_what_etcd_holds(machine: Machine) -> None:
    """As after the machine was started anew: its network is gone too."""
    machine.end(*bringup.PARTS)
    machine.bridge = False
    assert "repaired" in machine.up()
    machine.until(lambda: set(machine.pids()) == set(bringup.PARTS))
    assert machine.marker.exists() and {"network", "cgroup", "pause"} <= set(machine.done)


def test_an_up_that_was_interrupted_is_gone_on_with(machine: Machine) -> None:
    machine.layout.options.unlink()
    machine.layout.log("kube-apiserver").touch()
    machine.end("kubelet", "coredns")
    assert "repaired" in machine.up()
    assert machine.marker.exists()
    assert Options(**json.loads(machine.layout.options.read_text())) == Options()


def test_a_repair_keeps_the_options_of_before_and_says_which_differ(machine: Machine) -> None:
    machine.layout.options.write_text(json.dumps(asdict(Options(kcm_qps=20))))
    machine.end("kube-scheduler")
    with pytest.raises(RefusedError, match="already up with other options"):
        machine.up(Options())
    machine.until(lambda: set(machine.pids()) == set(bringup.PARTS))
    assert machine.marker.exists()


def test_other_versions_are_refused_where_etcd_holds_data(machine: Machine) -> None:
    config = machine.layout.conf / "containerd.toml"
    config.write_text(config.read_text().replace(str(machine.programs), "/old/bin"))
    machine.end("etcd")
    before = machine.pids()
    with pytest.raises(RefusedError, match=r"other versions made it \(/old/bin, not .*would be lost.*run `down`"):
        machine.up()
    assert machine.pids() == before and machine.marker.exists()


def test_lost_keys_are_refused_where_etcd_holds_data(machine: Machine) -> None:
    machine.layout.kubeconfig.unlink()
    machine.end("kube-apiserver")
    with pytest.raises(RefusedError, match=r"keys are incomplete.*would be lost.*run `down`"):
        machine.up()
    assert machine.marker.exists()


def test_a_part_that_ends_again_is_told_with_its_log_and_nothing_is_taken_away(machine: Machine) -> None:
    machine.end("etcd")
    machine.program("etcd", BROKEN)
    with pytest.raises(RefusedError, match=r"(?s)etcd ended with exit code 2.*no space left.*Nothing was taken away"):
        machine.up()
    assert machine.marker.exists() and len(machine.pids()) == len(bringup.PARTS) - 1


def test_a_cluster_that_does_not_become_ready_is_told_and_nothing_is_taken_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringup.api, "is_ready", lambda _: False)
    monkeypatch.setattr(bringup, "PATIENCE", 0.2)
    with pytest.raises(RefusedError, match=r"(?s)a Ready node did not come.*Nothing was taken away"):
        machine.up()
    assert machine.marker.exists() and set(machine.pids()) == set(bringup.PARTS)


def test_what_never_held_an_object_makes_room_for_a_new_cluster(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `up` that was ended before its API server was there."""
    machine.end(*bringup.PARTS)
    for path in (machine.layout.options, machine.layout.log("kube-apiserver")):
        path.unlink()
    monkeypatch.setattr(bringup, "_fresh", lambda *_: "made anew")
    assert machine.up() == "made anew"
    assert not machine.layout.state.exists()


def test_down_takes_everything_away_as_it_is_told(machine: Machine) -> None:
    machine.end("kubelet")
    teardown.down(machine.layout)
    assert not machine.layout.state.exists() and machine.pids() == {}
