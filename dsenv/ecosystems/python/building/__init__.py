"""Wheels made of sources: what that takes, pinned, and how it is done."""
