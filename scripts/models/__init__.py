"""Models by name: the registry, and the presets of both sides."""
