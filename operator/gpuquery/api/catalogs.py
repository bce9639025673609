"""Table catalogs: their options, and how a pod or a shell is told of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS = frozenset({"token", "credential"})
"""Options that are secrets, so they may not stand in a declaration."""
DELEGATION = "header.x-iceberg-access-delegation"
"""`vended-credentials`: a table is read with what the catalog vends, even if the job has credentials of its own."""
OPTIONS = frozenset(
    {
        "uri", "warehouse", "prefix", "oauth2-server-uri", "scope", "audience", "resource", "rest.sigv4-enabled",
        "rest.signing-region", "rest.signing-name", DELEGATION, *SECRETS,
    }
)  # fmt: skip
"""Options of a catalog, by pyiceberg's names; all but the secrets may be declared by the administrator."""

SECRET_NAME = "secretName"  # noqa: S105 (the name of an option)
"""In a declaration: the Secret, in each job's namespace, with the secrets for this catalog."""
DECLARED = OPTIONS - SECRETS | {SECRET_NAME}


IN_VARIABLES = "PYICEBERG_.*"
"""Variables of options: a template that could set one could send the secret of a catalog elsewhere."""


def holds_secret(variable: str) -> bool:
    """Whether an environment variable is one of an option that is a secret."""
    return variable.startswith("PYICEBERG_CATALOG__") and variable.endswith(tuple(f"__{_word(one)}" for one in SECRETS))


def variable(name: str, key: str) -> str:
    """Return the environment variable of an option, as pyiceberg names it: `PYICEBERG_CATALOG__MY_LAKE__URI`."""
    return f"PYICEBERG_CATALOG__{_word(name)}__{_word(key)}"


def _word(text: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", text.upper().replace(".", "__"))


def checked(declared: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """Return an administrator's declarations; raises ValueError for an option that is unknown, missing or a secret."""
    for name, options in declared.items():
        if not options.get("uri"):
            raise ValueError(f"{name} has no uri")
        for key in options:
            if key in SECRETS:
                raise ValueError(
                    f"{name} has a {key}, which would be in every plan: put it into a Secret ({SECRET_NAME})"
                )
            if key not in OPTIONS and key != SECRET_NAME:
                raise ValueError(f"{name} has the option {key}; the options are {', '.join(sorted(DECLARED))}")
    return declared
