"""Sends requests, in a closed or an open loop; knows HTTP and nothing of what answers."""
