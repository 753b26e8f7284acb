"""Telling a lack of memory from other errors: each library says it in its own words."""

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation")


def is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _WORDS)
