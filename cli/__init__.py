"""The command line of training: flags and recipes become a configuration, a mode runs it."""
