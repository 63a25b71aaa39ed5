"""The rooms that touch the world: processes, the network, container engines, archives.

What is here runs a tool or moves bytes and knows nothing of specs, locks or ecosystems.
"""
