"""The command line: it reads words, calls an operation, and prints what came out. Nothing below it prints."""
