"""What packages say of themselves and of each other."""
