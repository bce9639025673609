"""What operators and casts mean in a dialect where DuckDB means something else, and the types decide.

Types are known when a statement is bound. So these are not words of the text: `semantics_pass` puts them into the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

BOOLEAN_TEXTS = ("true", "false", "t", "f", "1", "0")


@dataclass(frozen=True)
class Semantics:
    """What is not as in DuckDB."""

    title: str = ""
    """As people call the dialect."""
    float_to_integer: str = ""
    """Function by which a cast of a fraction to a whole number goes first; empty: DuckDB's own cast."""
    division_fails: bool = False
    """Whether `/` by zero fails, of fractions too."""
    doubles_divide: bool = False
    """Whether `/` of a DOUBLE divides by zero as IEEE 754 says, though `/` of whole numbers and decimals fails."""
    whole_texts: bool = False
    """Whether a text with a fraction, as '1.5', is no whole number; DuckDB rounds it."""
    booleans: tuple[str, ...] = ()
    """The texts that a cast reads as a BOOLEAN, in any case; empty: DuckDB's."""
    days_apart: str = ""
    """What to write for the days between two days, where `a - b` is an INTERVAL."""
    rounds_to_even: bool = False
    """Whether ROUND of a DOUBLE takes the even number at a half."""
    quotients: str = ""
    """To how many places a quotient, or an average, of decimals is rounded; empty: nothing is rounded to be told of."""
    whole_quotients: bool = False
    """Whether that holds for quotients of whole numbers too."""

    def read(self, *, whole: bool, boolean: bool) -> str:
        """Return the pattern of texts that a cast to a type reads; empty: those that DuckDB reads."""
        if whole and self.whole_texts:
            return r"^\s*[+-]?[0-9]+\s*$"
        if boolean and self.booleans:
            return rf"(?i)^\s*({'|'.join(self.booleans)})\s*$"
        return ""
