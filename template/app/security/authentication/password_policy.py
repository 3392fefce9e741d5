"""What a new password must be: long enough, not made of names, and not easy to guess (ASVS 5.0 V6.2.1 to V6.2.11).

NIST SP 800-63B-4 section 3.1.1.2: length counts; no rules of composition, and nothing that everybody tries first.
"""

import re
from collections.abc import Iterable

from app.security.core.settings import NAME, SLUG
from app.security.core.tables import normalise_login

LETTERS_OF_ITS_OWN = 5  # that a password has beside the names in it, if there are any
JUDGED_LENGTH = 32  # zxcvbn's time grows with the square of the length


def words_of(names: Iterable[str]) -> frozenset[str]:
    """What is in these names and the service's own, with digits and without: a customer's number is a name, too."""
    whole = (NAME, SLUG, *names)
    parts = [part for name in whole for part in (name, *re.split(r"[@.\s_-]", name))]
    found = {word for part in parts for word in (_letters(part), _letters_and_digits(part))}
    return frozenset(word for word in found if len(word) >= 3)


def is_made_of(words: Iterable[str], password: str) -> bool:
    """Whether hardly any letter is left without these words."""
    return any(_leaves_little(text, words) for text in (_letters(password), _letters_and_digits(password)))


def guessability(password: str, words: Iterable[str]) -> int:
    """0 to 4, worst to best; zxcvbn knows common words, repeats, sequences and keyboard walks."""
    import zxcvbn  # 25 MiB of common words, for the processes that set a password

    return int(zxcvbn.zxcvbn(password[:JUDGED_LENGTH], user_inputs=list(words))["score"])


def _leaves_little(text: str, words: Iterable[str]) -> bool:
    rest = text
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != text and len(_letters(rest)) < LETTERS_OF_ITS_OWN


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, normalise_login(text)))


def _letters_and_digits(text: str) -> str:
    return "".join(filter(str.isalnum, normalise_login(text)))
