"""The network, what it is loaded from and saved to, and what it computes on; needs no Lightning."""
