"""Requirements that name their own source: what a person writes, its files, and what these say of themselves."""
