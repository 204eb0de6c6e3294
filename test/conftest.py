"""What all tests share: property tests draw the same examples in every run and have no time limit of their own."""

from hypothesis import HealthCheck, settings

settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")  # pytest --hypothesis-profile search looks for new ones
