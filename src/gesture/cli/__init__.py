"""What a person types, and how a command ends."""
