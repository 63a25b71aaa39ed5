"""One file per subcommand: it names the options, calls the operation and words the answer."""
