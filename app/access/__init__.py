"""Who may send and read: keys, scopes, webhook signatures, CORS. Knows no server, no pipeline."""
