"""The commands, one module each. A command returns an answer; `main` shows it and makes the exit code.

Modules here are imported only when their command is called, and import the library's heavy parts inside
the command, so that `--help` stays fast.
"""
