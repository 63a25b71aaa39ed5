"""dsenv: environment-as-code for data science.

One file, ``dsenv.toml``, says which Python, R and system packages a project needs; dsenv locks, restores, images
and proves that environment. ``docs/architecture.md`` draws the rooms of this package.
"""

__version__ = "0.1.0"
