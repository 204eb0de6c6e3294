"""Subcommands of the `cooptrack` command, one module each."""
