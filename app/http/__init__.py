"""HTTP itself: problem documents, responses, request bodies, encodings. Knows no pipeline."""
