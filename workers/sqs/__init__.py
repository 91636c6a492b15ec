"""The store on Amazon SQS: a message is a whole segment. Knows no HTTP, no bucket and no disk."""
