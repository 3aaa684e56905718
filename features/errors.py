"""The one error that is meant for the person at the keyboard."""


class IceboxError(Exception):
    """Something the user can mend. The message says where, what was expected, what was found, what to do.

    The command line prints it as it is, without a traceback.
    """


class ItemError(IceboxError):
    """One item's content can't be read as what it should be (a truncated image, say)."""
