"""The whole service at a glance, for the console and `flask top`. Knows no HTTP and no thread."""
