"""Operators' `flask` commands. They start no pipeline."""
