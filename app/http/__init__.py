"""HTTP itself: problem documents, responses, request bodies, content encodings. Knows no pipeline."""
