"""Table catalogs: their options, and how a pod or a shell is told of them."""

from __future__ import annotations

import re

FOLDER = "/var/run/gpuquery/catalogs"
"""Where a pod has a catalog's Secret: a folder of its name, a file for each key."""
FOLDER_VARIABLE = "GPUQUERY_CATALOGS"
"""Variable that names another folder, outside of pods."""
SECRETS = frozenset({"token", "credential"})
"""Options that are secrets, so they may not stand in a declaration."""
OPTIONS = frozenset(
    {
        "uri", "warehouse", "prefix", "oauth2-server-uri", "scope", "audience", "resource", "rest.sigv4-enabled",
        "rest.signing-region", "rest.signing-name", *SECRETS,
    }
)  # fmt: skip
"""Options of a catalog, by pyiceberg's names; all but the secrets may be declared by the administrator."""


def variable(name: str, key: str) -> str:
    """Return the environment variable of an option, as pyiceberg names it: `PYICEBERG_CATALOG__MY_LAKE__URI`."""
    return f"PYICEBERG_CATALOG__{_word(name)}__{_word(key)}"


def _word(text: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", text.upper().replace(".", "__"))
