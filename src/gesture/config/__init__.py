"""Every setting, and the one way to a checked configuration."""
