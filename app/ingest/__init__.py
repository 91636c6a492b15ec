"""What happens to a POST of payloads: decode, check, hand over. Knows no Flask and no server."""
