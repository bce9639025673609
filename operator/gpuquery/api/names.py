"""Types of names that follow Kubernetes' rules."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

RESOURCE_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
ResourceName = Annotated[str, Field(min_length=1, max_length=253, pattern=RESOURCE_NAME)]
"""Name of an object of Kubernetes."""
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
TABLE_NAME = r"^[^\s./]+([.][^\s./]+)+$"
"""A table of a catalog with its namespace."""
