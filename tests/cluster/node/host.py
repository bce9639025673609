"""What this machine must have, who installs it, and a plain word when it cannot be had."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .layout import LOOPBACK_PORTS, RefusedError

# command -> Debian packages, by what needs it
RUN = {"ip": "iproute2", "nft": "nftables", "openssl": "openssl", "mount": "mount", "umount": "mount"}
BUILD = {"gcc": "gcc libc6-dev", "pkg-config": "pkg-config"}
BUILD_LIBRARIES = {"libseccomp": "libseccomp-dev"}  # pkg-config name -> Debian package


def say(message: str) -> None:
    """Tell the person what is going on; standard output stays for what other programs read."""
    print(f"onenode: {message}", file=sys.stderr, flush=True)


def is_debian(os_release: str) -> bool:
    """Whether apt-get installs packages under Debian's names here."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "ubuntu"} & set(names))


def require_root() -> None:
    """Refuse early: half a cluster is worse than none."""
    if sys.platform != "linux":
        raise RefusedError(f"a one-node Kubernetes needs Linux; this is {sys.platform}: use a Linux virtual machine")
    if os.geteuid() != 0:
        raise RefusedError(
            "needs root, because it mounts, makes network namespaces and cgroups: "
            f"run it as `sudo -E {sys.executable} {' '.join(sys.argv)}`"
        )


def require_commands(commands: dict[str, str], libraries: dict[str, str] | None = None) -> None:
    """Install the packages that are missing (Debian and Ubuntu), or name them (elsewhere)."""
    missing = {name for command, names in commands.items() if shutil.which(command) is None for name in names.split()}
    if libraries and shutil.which("pkg-config"):
        missing |= {p for lib, p in libraries.items() if subprocess.call(["pkg-config", "--exists", lib]) != 0}
    elif libraries:
        missing |= set(libraries.values())
    if missing:
        install(missing)


def install(packages: Iterable[str]) -> None:
    """Install Debian packages, saying so."""
    names = sorted(packages)
    release = Path("/etc/os-release")
    if not (release.exists() and is_debian(release.read_text()) and os.geteuid() == 0):
        raise RefusedError(
            f"missing: {', '.join(names)} (Debian's package names): install them with this system's "
            "package manager and run the same command again"
        )
    say(f"installing Debian packages: {' '.join(names)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *names]):
        done = subprocess.run(["apt-get", "-q", *command], env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise RefusedError(f"`apt-get {' '.join(command)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")


def require_kernel(state: Path) -> None:
    """Try the kernel features that pods need, each by using it: a name in a list proves little."""
    if not Path("/sys/fs/cgroup").is_dir() or not os.listdir("/sys/fs/cgroup"):
        raise RefusedError("no cgroups under /sys/fs/cgroup: mount cgroup2 there, or give this container its cgroups")
    if not hasattr(os, "pidfd_open"):
        raise RefusedError("this Python lacks os.pidfd_open: use Python 3.11 or newer on Linux 5.3 or newer")
    for module in ("overlay", "nf_tables", "bridge", "veth"):  # built in, loaded, or loadable: only the use tells
        if shutil.which("modprobe"):
            subprocess.run(["modprobe", "-q", module], stderr=subprocess.DEVNULL)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)
    if tables.returncode != 0:
        raise RefusedError(
            f"the kernel refuses nf_tables, which services need ({tables.stderr.strip()}): "
            "load nf_tables, or run with CAP_NET_ADMIN"
        )
    _require_overlayfs(state)


def _require_overlayfs(state: Path) -> None:
    probe = state / "overlay-probe"
    folders = [probe / name for name in ("lower", "upper", "work", "merged")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    lower, upper, work, merged = folders
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RefusedError(
            f"cannot mount overlayfs under {state} ({done.stderr.strip()}): set GPUQUERY_CLUSTER_DIR to a folder "
            "on ext4, xfs or tmpfs, and run with CAP_SYS_ADMIN on a kernel that has overlayfs"
        )
    subprocess.run(["umount", str(merged)], check=True)
    shutil.rmtree(probe)


def require_free_ports() -> None:
    """Name the other etcd or Kubernetes before ours fails on its ports."""
    for port, owner in LOOPBACK_PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise RefusedError(
                    f"port {port} of 127.0.0.1, for {owner}, is taken ({error.strerror}): "
                    "stop the etcd or Kubernetes that runs on this machine"
                ) from None
