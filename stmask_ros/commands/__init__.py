"""The subcommands of `stmask`."""
