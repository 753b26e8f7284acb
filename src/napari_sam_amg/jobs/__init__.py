"""Runs that can be continued, and done by several processes: work kept in files, unit by unit."""
