"""How many examples Hypothesis tries: a test names the number for CI, and who works on the code gets a quarter of it.

`HYPOTHESIS_PROFILE` chooses: `dev`, the default, or `ci`. Both draw other examples in every run, and keep those that
failed, unless Hypothesis sees by a variable such as `CI` that nobody is there to look: then it draws the same ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

VARIABLE = "HYPOTHESIS_PROFILE"
WHOLE = 100
"""Examples in the profile of CI of a test that names no number; the other profile has a share of it."""
FEWEST = 10


def load_profile() -> None:
    """Register the profiles and load the one that the environment names."""
    # How long an example takes says more about the machine than about the code.
    settings.register_profile(
        "ci", max_examples=WHOLE, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
    settings.register_profile("dev", parent=settings.get_profile("ci"), max_examples=WHOLE // 4)
    settings.load_profile(os.environ.get(VARIABLE) or "dev")


def examples(count: int) -> settings:
    """Return settings of a test that tries so many examples in CI."""
    return settings(max_examples=max(FEWEST, count * settings.default.max_examples // WHOLE))
