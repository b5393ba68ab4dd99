"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# No example fails for being slow: the machine may be busy with something else.
settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")
