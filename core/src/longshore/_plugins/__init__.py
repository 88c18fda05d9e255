"""Finds and guards plugins: facts, policy, load, contract; nothing is imported before it is asked for by name."""
