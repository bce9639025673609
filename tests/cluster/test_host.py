"""A machine that lacks something is told what, and how to get it."""

import json
import os
import socket
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from node import bringup, cgroup, host, network, parts, pause, teardown
from node.layout import Layout, RefusedError
from node.parts import Options

V1 = """\
25 20 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw
26 25 0:23 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
27 25 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("release", "want"),
    [
        pytest.param("ID=debian\n", True, id="Debian"),
        pytest.param('ID=ubuntu\nID_LIKE="debian"\n', True, id="Ubuntu"),
        pytest.param('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True, id="what derives from them"),
        pytest.param('ID="rhel"\nID_LIKE="fedora"\n', False, id="another family"),
    ],
)
def test_packages_are_installed_on_debians_family_only(release: str, want: bool) -> None:
    assert host.is_debian(release) is want


def test_without_root_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match=r"needs root.*sudo -E"):
        host.require_root()


def test_missing_packages_are_named_where_nobody_may_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match="missing: nftables"):
        host.require_commands({"no-such-command-here": "nftables"})


def test_a_taken_port_is_named_with_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(host, "LOOPBACK_PORTS", {port: "etcd"})
        with pytest.raises(RefusedError, match=f"port {port} of 127.0.0.1, for etcd, is taken"):
            host.require_free_ports()


def test_cgroup_v1_and_v2_are_told_apart() -> None:
    assert not cgroup.is_v2(V1)
    assert cgroup.is_v2(V2)
    assert [str(mount) for _, mount in cgroup.hierarchies(V1)] == ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"]


def test_mounts_of_the_state_folder_go_last_mounted_first() -> None:
    rows = ["/", "/srv/one", "/srv/one/a", "/srv/one-more", "/srv/one/a/b\\040c"]
    mountinfo = "".join(f"1 1 0:1 / {point} rw - ext4 x rw\n" for point in rows)
    assert teardown.mounts_below(Path("/srv/one"), mountinfo) == ["/srv/one/a/b c", "/srv/one/a", "/srv/one"]


def test_the_machines_dns_servers_are_used_and_nothing_else_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# by someone\nsearch example.com\nnameserver 192.0.2.53\noptions edns0\n")
    assert network.resolvers(file) == "nameserver 192.0.2.53\n"
    assert network.resolvers(tmp_path / "none") == "nameserver 127.0.0.1\n"


def test_the_pause_image_is_an_oci_archive_under_the_name_that_containerd_pins() -> None:
    with tarfile.open(fileobj=BytesIO(pause.oci_archive(b"program"))) as archive:
        entry = json.load(archive.extractfile("index.json"))["manifests"][0]  # type: ignore[arg-type]
        manifest = json.load(archive.extractfile(f"blobs/{entry['digest'].replace(':', '/')}"))  # type: ignore[arg-type]
        names = archive.getnames()
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/pause:dev"
    assert all(
        f"blobs/{part['digest'].replace(':', '/')}" in names for part in [manifest["config"], *manifest["layers"]]
    )


def test_folders_come_from_the_environment() -> None:
    layout = Layout.from_env({"GPUQUERY_CLUSTER_DIR": "/srv/c", "XDG_CACHE_HOME": "/srv/cache"})
    assert (layout.state, layout.cache) == (Path("/srv/c"), Path("/srv/cache/gpuquery/cluster"))
    assert Layout.from_env({"HOME": "/home/a"}).cache == Path("/home/a/.cache/gpuquery/cluster")


def test_options_reach_the_components() -> None:
    layout = Layout(Path("/srv/c"), Path("/srv/cache"))
    manager = parts.controller_manager(layout, Options(kcm_qps=20, kcm_burst=30))
    assert {"--kube-api-qps=20", "--kube-api-burst=30"} <= set(manager)
    assert "--unsafe-no-fsync" not in parts.etcd(layout, Options())
    assert "--unsafe-no-fsync" in parts.etcd(layout, Options(fsync=False))


def test_a_cluster_is_ready_only_with_all_its_parts() -> None:
    whole = bringup.Status(bringup.PARTS, (), leftovers=True, api=True, node=True, gpus=8)
    assert whole.ready
    assert not bringup.Status(bringup.PARTS[1:], ("etcd",), leftovers=True, api=True, node=True, gpus=8).ready
