"""Archives of packages: where they are, what they sign, what of it is kept."""
