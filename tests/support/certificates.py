"""Certificates of TLS, made by the program `openssl`: a CA, and what it signs; and private keys."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from gpuquery.plan.dask import flags

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """A CA, with its files in a folder of its own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.certificate, self._key = self.folder / "ca.crt", self.folder / "ca.key"
        _openssl("req", "-x509", *_NEW, "-keyout", self._key, "-out", self.certificate, "-subj", f"/CN={name}")

    def signed(self, name: str, *, days: int = 1, usage: str = "serverAuth,clientAuth", alternative: str = "") -> Path:
        """Return a folder with ca.crt, tls.crt and tls.key, as a Secret has them; less than no days: expired.

        `alternative` is what the certificate vouches for beside its name: `DNS:localhost`.
        """
        folder = self.folder / name
        folder.mkdir()
        request = folder / "request"
        _openssl("req", *_NEW, "-keyout", folder / "tls.key", "-out", request, "-subj", f"/CN={name}")
        signer = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        extensions = folder / "extensions"
        more = f"subjectAltName={alternative}\n" if alternative else ""
        extensions.write_text(f"extendedKeyUsage={usage}\n{more}")
        valid = ("-days", str(days), "-extfile", extensions)
        _openssl("x509", "-req", "-in", request, *signer, *valid, "-out", folder / "tls.crt")
        request.unlink()
        extensions.unlink()
        (folder / "ca.crt").write_bytes(self.certificate.read_bytes())
        return folder


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def rsa(folder: Path, form: str) -> str:
    """Make a private RSA key in PEM, of the form pkcs8 or pkcs1."""
    made, key = folder / "made.pem", folder / "key.pem"
    _openssl("genrsa", "-out", made, "2048")
    into = ["pkcs8", "-topk8", "-nocrypt"] if form == "pkcs8" else ["rsa", "-traditional"]
    _openssl(*into, "-in", made, "-out", key)
    return key.read_text()


def variables(folder: Path, role: str) -> dict[str, str]:
    """Return how a process of Dask finds the certificates of a folder; `role` is SCHEDULER, WORKER or CLIENT."""
    tls = "DASK_DISTRIBUTED__COMM__TLS"
    return {
        f"{tls}__CA_FILE": str(folder / "ca.crt"),
        f"{tls}__{role}__CERT": str(folder / "tls.crt"),
        f"{tls}__{role}__KEY": str(folder / "tls.key"),
    }


def servers(folder: Path) -> dict[str, str]:
    """Variables of scheduler and workers that have these files."""
    return variables(folder, "SCHEDULER") | variables(folder, "WORKER")


def client(folder: Path) -> dict[str, str]:
    """Variables of a job's pod that has these files by `dask.tlsSecretName`."""
    return {name: str(folder / key) for key, name in flags.TLS_FILES.items()} | flags.TLS_ONLY
