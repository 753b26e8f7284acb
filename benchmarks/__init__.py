"""This engine beside others, on the same weights, image and parameters: ``python -m benchmarks --help``.

Not part of the wheel. See docs/performance.md for the method.
"""
