"""The pods' bridge, the node's address on it, and the one rule that lets pods out."""

import json
import subprocess
from pathlib import Path

from .layout import BRIDGE, NFT_TABLE, NODE_IP, POD_CIDR, Layout, RefusedError

RULES = f"""\
table ip {NFT_TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {POD_CIDR} ip daddr != {POD_CIDR} masquerade
  }}
}}
"""
# kube-proxy keeps its rules when it ends, and always uses these names.
TABLES = (("ip", NFT_TABLE), ("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def create(layout: Layout) -> None:
    """Make the bridge with the node's address, and forward and masquerade what pods send."""
    prefix = POD_CIDR.partition("/")[2]
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "addr", "add", f"{NODE_IP}/{prefix}", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    _run("nft", "-f", "-", stdin=RULES)
    (layout.conf / "resolv.conf").write_text(resolvers(Path("/etc/resolv.conf")))


def resolvers(machine: Path) -> str:
    """The machine's DNS servers; one that answers nothing where it has none, so that CoreDNS still starts."""
    lines = machine.read_text().splitlines() if machine.exists() else []
    servers = [line for line in lines if line.split()[:1] == ["nameserver"] and len(line.split()) > 1]
    return "".join(f"{line}\n" for line in servers or ["nameserver 127.0.0.1"])


def bridge_exists() -> bool:
    """Whether the bridge is there, from this cluster or another's rest."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def remove() -> list[str]:
    """Take away the bridge with its ports and all tables; say what was there."""
    removed = []
    if bridge_exists():
        for port in sorted(Path(f"/sys/class/net/{BRIDGE}/brif").iterdir()):
            subprocess.run(["ip", "link", "del", port.name], capture_output=True)
        _run("ip", "link", "del", BRIDGE)
        removed.append(f"bridge {BRIDGE}")
    listed = subprocess.run(["nft", "--json", "list", "tables"], capture_output=True, text=True)
    entries = json.loads(listed.stdout)["nftables"] if listed.returncode == 0 and listed.stdout else []
    present = {(entry["table"]["family"], entry["table"]["name"]) for entry in entries if "table" in entry}
    for family, name in TABLES:
        if (family, name) in present:
            _run("nft", "delete", "table", family, name)
            removed.append(f"nft table {family} {name}")
    return removed


def _run(*command: str, stdin: str | None = None) -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RefusedError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
