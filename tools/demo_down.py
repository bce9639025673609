"""`make demo-down` on a cluster that is not ours: removes what the demo made and leaves the cluster."""

from __future__ import annotations

from tools.demo import NAMESPACE, RELEASE, SYSTEM
from tools.kubectl import chosen_cluster


def main() -> None:
    """Remove the demo's namespaces, the release and its CRD."""
    cluster = chosen_cluster()
    cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=300)
    print(cluster.helm("uninstall", RELEASE, "-n", SYSTEM, "--ignore-not-found", "--wait"))
    cluster.run("delete", "crd", "gpuqueryjobs.gpuquery.io", "--ignore-not-found")
    cluster.run("delete", "namespace", SYSTEM, "--ignore-not-found", timeout=300)


if __name__ == "__main__":
    main()
