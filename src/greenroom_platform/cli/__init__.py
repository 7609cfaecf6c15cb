"""The platform's commands, one file each."""
