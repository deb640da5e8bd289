"""What a file or an endpoint said, made fit for a terminal."""

REPLACED = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Text on one line, without control characters or terminal escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\n\t\r" else REPLACED for char in text)
