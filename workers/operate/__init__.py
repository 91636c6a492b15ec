"""What operators and clients ask for later: receipts, dead letters, checks. Knows no HTTP."""
