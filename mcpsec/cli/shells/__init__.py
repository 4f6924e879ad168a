"""Completion scripts: what there is to complete (``tree``), and one writer for each shell."""
