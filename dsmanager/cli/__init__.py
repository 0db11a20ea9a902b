"""The command line: one verb a file, thin. It parses, asks, renders, maps errors to exit codes."""
