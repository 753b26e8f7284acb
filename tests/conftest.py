"""Settings for all tests."""

from hypothesis import settings

# The machines that run tests are slow and busy: a deadline would test them, not us.
settings.register_profile("napari-sam-amg", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("napari-sam-amg")
