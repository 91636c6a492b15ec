"""Measures this service beside other designs, on loopback; `python -m benchmarks`.

Nothing here is imported by the service.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"
