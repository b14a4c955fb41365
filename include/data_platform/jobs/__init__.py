"""The work: what a task or a command does from beginning to end."""
