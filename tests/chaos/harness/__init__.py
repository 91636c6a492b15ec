"""What the chaos runs share. Knows no run."""
