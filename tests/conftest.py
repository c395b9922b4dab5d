"""What every test runs under."""

from hypothesis import HealthCheck, settings

# A timing is never a test: shared machines stall. Derandomized: a failure repeats.
settings.register_profile(
    "bauta",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("bauta")
