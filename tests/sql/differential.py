"""Generated statements by GpuQuery and by another engine: what becomes of them, and each difference, reduced.

    python -m tests.sql.differential [--postgres] [--seed 7] [--count 2000] [--full]

The other one is DuckDB; with --postgres a PostgreSQL that is started for it, with the statements that it claims to
understand in the same way. Ends with 1 if a statement differs. The seed is printed; without one it is drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import sys
import time
from collections import Counter

from sqlglot.errors import ParseError

from tests.support import sql_tables, sql_verdict
from tests.support.postgres import serve
from tests.support.sql_generator import Generator
from tests.support.sql_reduce import reduced
from tests.support.sql_verdict import DIFFERENT, GOOD, Engines, Outcome, Verdict

REDUCED = 40
"""How many kinds of differences are reduced; each takes seconds."""
EACH = 2
LIMITS = {Outcome.REFUSED: 0.10, Outcome.EARLY: 0.01}
"""The shares of statements that may end so."""
KNOWN = {
    "PostgreSQL fails where a DOUBLE overflows or underflows; here it is infinite, or zero": r"value out of range: ",
    "numeric of PostgreSQL has more than 38 digits": r"does not fit into 38 digits|does not fit into DECIMAL\(38, ",
    "PostgreSQL has no minimum and maximum of booleans": r"function (min|max)\(boolean\) does not exist",
    "PostgreSQL gives a text constant no type in a window function": r"could not determine polymorphic type",
}
"""Differences from PostgreSQL that `docs/sql.md` tells, by what the error says."""


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--full", action="store_true", help="print differences as they are, do not reduce them")
    options = parser.parse_args()
    print(f"--seed {options.seed} --count {options.count}", flush=True)
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(serve()) if options.postgres else None
        engines = stack.enter_context(sql_verdict.over(sql_tables.tables(options.seed), postgres))
        return judge(engines, options)


def judge(engines: Engines, options: argparse.Namespace) -> int:
    """Run the statements and print what became of them."""
    generator = Generator(str(options.seed), portable=options.postgres)
    started = time.monotonic()
    outcomes: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for number in range(options.count):
        made = generator.statement()
        verdict = engines.verdict(made.text)
        known = [row for row, said in KNOWN.items() if re.search(said, verdict.detail)] if options.postgres else []
        if verdict.outcome not in GOOD and known:
            outcomes[f"known: {known[0]}"] += 1
            continue
        outcomes[verdict.outcome] += 1
        if verdict.outcome in LIMITS:
            refusals[f"{verdict.outcome}: {verdict.reason}"] += 1
        if verdict.outcome in DIFFERENT:
            like = f"{verdict.outcome}: {verdict.reason if verdict.outcome is not Outcome.WRONG else made.kind}"
            seen[like] += 1
            if seen[like] <= EACH and len(seen) <= REDUCED:
                tell(engines, number, made.text, verdict, reduce=not options.full)
    print(f"\n{time.monotonic() - started:.0f} s")
    for counted in (outcomes, refusals, seen):
        print("\n".join(f"{number:6} {what}" for what, number in counted.most_common(60)) + "\n")
    shares = [(what, outcomes[what] / options.count, most) for what, most in LIMITS.items()]
    for what, share, most in shares:
        print(f"{what}: {share:.1%}, at most {most:.0%}")
    return int(bool(seen) or any(share > most for _, share, most in shares))


def tell(engines: Engines, number: int, text: str, verdict: Verdict, *, reduce: bool) -> None:
    """Print a difference, as small as it gets."""
    if reduce:
        text = reduced(text, lambda smaller: alike(engines, smaller, verdict))
        verdict = engines.verdict(text)
    print(f"\n[{number}] {verdict.outcome}: {text}\n{verdict.detail}", flush=True)


def alike(engines: Engines, text: str, other: Verdict) -> bool:
    """Whether a statement shows the same kind of difference."""
    try:
        one = engines.verdict(text)
    except ParseError:  # sqlglot writes what it does not read again
        return False
    return one.outcome is other.outcome and (one.outcome is Outcome.WRONG or one.reason == other.reason)


if __name__ == "__main__":
    sys.exit(main())
