"""The configuration: its keys, their rules, YAML files and the command line."""
