"""A run of either kind: trained, opened, scored, searched, selected from, its weights handed on."""
