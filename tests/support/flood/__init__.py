"""Load on the service. Knows its HTTP contract, and nothing else of it."""

from tests.support.flood.connection import Connection
from tests.support.flood.flood import RECONNECT_SECONDS, Flood, Plan

__all__ = ["RECONNECT_SECONDS", "Connection", "Flood", "Plan"]
