#!/usr/bin/env python3
"""A real one-node Kubernetes for tests: etcd, API server, kubelet, containerd, on this machine alone.

onenode.py up [--gpus 8]       build it once, bring it up in seconds; a second `up` starts what has ended
eval "$(onenode.py kubeconfig)" && kubectl get nodes
onenode.py load IMAGE…         copy images (archives, or names that buildah has) into the node
onenode.py status              0 if it is ready
onenode.py down                everything away, whatever state it was in
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from node import bringup, build, host, images, process, teardown
from node.host import say
from node.layout import Layout, RefusedError
from node.parts import Options


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """One `up`, `down` or `load` at a time; the lock goes with its holder, however that ends."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another onenode.py is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(layout: Layout, arguments: argparse.Namespace) -> int:
    """Bring the cluster up."""
    options = Options(arguments.gpus, arguments.kcm_qps, arguments.kcm_burst, arguments.fsync)
    host.require_root()
    with exclusive(layout):
        say(bringup.up(layout, options))
    return 0


def down(layout: Layout, _: argparse.Namespace) -> int:
    """Take everything away."""
    host.require_root()
    with exclusive(layout):
        removed = teardown.down(layout)
    say(f"removed {'; '.join(removed)}" if removed else "nothing was there")
    return 0


def status(layout: Layout, _: argparse.Namespace) -> int:
    """Say what there is."""
    host.require_root()
    now = bringup.status(layout)
    if now.absent:
        print(f"not up (nothing in {layout.state})")
        return 1
    pids = {found.part: found.pid for found in reversed(process.of(layout)) if found.part in now.running}
    for part in bringup.PARTS:
        print(f"{part:24} {f'running, pid {pids[part]}' if part in pids else 'NOT RUNNING'}")
    print(f"{'API server':24} {'ready' if now.api else 'NOT READY'}")
    print(f"{'node':24} {'Ready' if now.node else 'NOT READY'}, {now.gpus} simulated GPUs")
    print(f"{'state and logs':24} {layout.state}")
    return 0 if now.ready else 1


def kubeconfig(layout: Layout, _: argparse.Namespace) -> int:
    """Print what a shell must set to use the cluster."""
    programs = process.programs(layout) or build.programs(layout)
    print(f"export KUBECONFIG={layout.kubeconfig} PATH={programs}:$PATH")
    return 0


def build_only(layout: Layout, _: argparse.Namespace) -> int:
    """Build the programs, if they are not."""
    say(f"programs are in {build.ensure(layout)}")
    return 0


def load(layout: Layout, arguments: argparse.Namespace) -> int:
    """Copy images into the node."""
    host.require_root()
    with exclusive(layout):
        programs = bringup.programs_of(layout)
        for source in arguments.images:
            images.load(layout, programs, source)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="onenode.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    starting = add("up", up, "bring the cluster up (builds it first, once); a second `up` starts what has ended")
    starting.add_argument(
        "--gpus", type=int, default=Options.gpus, help="simulated nvidia.com/gpu (default: %(default)s)"
    )
    starting.add_argument(
        "--kcm-qps", type=int, default=Options.kcm_qps,
        help="kube-controller-manager's requests per second (default: %(default)s; its own default is 20)",
    )  # fmt: skip
    starting.add_argument(
        "--kcm-burst", type=int, default=Options.kcm_burst,
        help="and how many at once (default: %(default)s; its own default is 30)",
    )  # fmt: skip
    starting.add_argument(
        "--unsafe-no-fsync",
        dest="fsync",
        action="store_false",
        help="etcd does not wait for the disk: faster, not for measuring",
    )
    add("down", down, "take everything away, whatever state it is in")
    add("status", status, "say what is running; exit code 0 if the node is Ready")
    add("kubeconfig", kubeconfig, "print `export KUBECONFIG=… PATH=…` for eval")
    add("build", build_only, "build the programs and nothing else")
    loading = add("load", load, "copy images into the node, skipping what is there")
    loading.add_argument(
        "images", nargs="+", metavar="IMAGE", help="an OCI or Docker archive, or a name that buildah has"
    )
    return made


def main() -> int:
    arguments = parser().parse_args()
    try:
        return int(arguments.run(Layout.from_env(), arguments))
    except RefusedError as refusal:
        print(f"onenode: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("onenode: interrupted; `down` takes away what is there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
