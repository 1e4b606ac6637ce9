"""Where messages live: one module an engine."""
