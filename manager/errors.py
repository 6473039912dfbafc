"""Errors that are told to the user in one line; everything else is a bug and shows its traceback."""


class UserError(Exception):
    """What is wrong, where (file and key), what is valid, and what to run next, as one line."""
