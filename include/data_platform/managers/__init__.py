"""What talks to a store."""
