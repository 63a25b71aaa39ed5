"""Finding exact packages by apt: where it runs, what it is asked, what it says."""
