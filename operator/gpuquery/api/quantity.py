"""Kubernetes quantities: `500m`, `16Gi`, `4`."""

from __future__ import annotations

import re
from decimal import Decimal

PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
SCALES = {
    "": Decimal(1), "m": Decimal("0.001"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


def amount(text: str) -> Decimal:
    """Return a quantity as a number. Raises ValueError if it is not one."""
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a quantity such as 500m, 4 or 16Gi")
    number = text.rstrip("mkMGTPi")
    return Decimal(number) * SCALES[text[len(number) :]]
