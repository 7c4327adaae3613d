"""What we claim, as commands."""
