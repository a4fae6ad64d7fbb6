"""The network and how it is trained and measured."""
