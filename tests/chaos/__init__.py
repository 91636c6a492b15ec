"""Crashes, outages and bad disks: the short versions, which run with every other test.

`python -m tests.chaos` runs the long ones and prints a table.
"""
