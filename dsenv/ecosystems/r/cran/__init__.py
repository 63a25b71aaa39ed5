"""Packages of repositories in CRAN's form, and of other sources: which exactly, and from where."""
