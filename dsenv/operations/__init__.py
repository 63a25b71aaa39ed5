"""What dsenv does, a verb each: they join the rooms below and print nothing."""
