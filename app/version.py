"""The service's version, for `flask version`, /metrics and pyproject.toml. Its only place."""

VERSION = "0.1.0"
