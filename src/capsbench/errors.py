"""The one exception a user's mistake or a broken file raises: a message for a person, no traceback."""


class CapsbenchError(Exception):
    """Something the user can mend; the message names the key or file and says what would be valid.

    The command line prints the message alone and exits with status 2.
    """
