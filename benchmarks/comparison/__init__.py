"""The main table: every contender in turn, what it cost, and the targets."""
