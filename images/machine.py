"""What this machine adds to a build and takes back after it: buildah, pip's settings, certificates."""

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PIP_CONF = Path("/etc/pip.conf")
PASSED = ("cert", "client-cert", "index-url", "extra-index-url", "find-links", "no-index", "timeout", "retries")
PATHS = ("cert", "client-cert", "find-links")


class RefusedError(Exception):
    """The machine or the caller must change something first; the message says what."""


def say(message: str) -> None:
    """Tell the person what is going on."""
    print(f"images: {message}", file=sys.stderr, flush=True)


def require() -> None:
    """Buildah as root, installed where this system has apt-get."""
    missing = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]
    if os.geteuid() != 0:
        raise RefusedError("needs root, because it builds without a daemon: run it with `sudo -E`")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise RefusedError(f"missing: {', '.join(missing)}: install them with this system's package manager")
    say(f"installing Debian packages: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", "-q", *command], check=False, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise RefusedError(f"`apt-get {' '.join(command)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")


def environment() -> dict[str, str]:
    """Without a daemon and without nested containers: chroot needs no more rights than root has here."""
    return {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}


def buildah(*arguments: str) -> str:
    """Run buildah; its output, or a refusal with the end of its complaint."""
    done = subprocess.run(["buildah", *arguments], env=environment(), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RefusedError(f"`buildah {arguments[0]}` failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")
    return done.stdout


def _inspect(image: str) -> dict[str, object]:
    done = subprocess.run(
        ["buildah", "inspect", "--type", "image", image], env=environment(), check=False, capture_output=True, text=True
    )
    found: dict[str, object] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def image_id(image: str) -> str:
    """ID of an image that buildah has; empty if it has none."""
    return str(_inspect(image).get("FromImageID", ""))


def label(image: str, key: str) -> str | None:
    """A label of an image; None where image or label is missing."""
    oci = _inspect(image).get("OCIv1")
    config = oci.get("config", {}) if isinstance(oci, dict) else {}
    found: str | None = (config.get("Labels") or {}).get(key)
    return found


def settings(folder: Path, env: Mapping[str, str] = os.environ, system: Path = PIP_CONF) -> list[str]:
    """Arguments of `buildah bud` that lend a build this machine's pip settings, as a file that no layer keeps."""
    values = pip_settings(env, system.read_text() if system.exists() else "")
    conf = folder / "pip.conf"
    conf.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
    lent = {str(conf): "/etc/pip.conf"}
    lent |= {values[key]: values[key] for key in PATHS if values.get(key, "").startswith("/")}
    return [part for host, inside in lent.items() for part in ("--volume", f"{host}:{inside}:ro")]


def pip_settings(env: Mapping[str, str], system: str) -> dict[str, str]:
    """What pip would do here: its system file, overridden by the environment, without paths that are gone."""
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(system)
    values = {key: parsed["global"][key] for key in PASSED if parsed.has_option("global", key)}
    for key in PASSED:
        if given := env.get(f"PIP_{key.upper().replace('-', '_')}"):
            values[key] = given
    if "cert" not in values and env.get("SSL_CERT_FILE"):
        values["cert"] = env["SSL_CERT_FILE"]
    return {k: v for k, v in values.items() if not (k in PATHS and v.startswith("/") and not Path(v).exists())}
