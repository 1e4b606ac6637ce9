"""What all tests share: how hypothesis looks for counterexamples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples every time, and no limit on time: a busy machine makes no test fail.
settings.register_profile(
    "gstream", deadline=None, derandomize=True, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gstream")
