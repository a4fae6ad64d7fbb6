"""Numbers that say how good a network is."""
