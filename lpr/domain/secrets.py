"""What must never reach a log, a page or an error: passwords in addresses, tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# Up to the *last* @ of the word: installers paste passwords that hold / # or @ unescaped, and those must be hidden too.
# With one slash, too: that is what is left of an address that was taken for a path.
_URL_PASSWORD = re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*:/{1,2}[^\s:/@'\"]*):[^\s'\"]+@", re.IGNORECASE)
# `?user=admin&password=…`, the `user=admin_password=…_channel=1` of cheap recorders, and keys in quotes as JSON and
# Python print them. Not a bare `token: …`: that is how sentences about tokens are written.
_NAMED_VALUE = re.compile(
    r"""(?P<keep>(?:password|passwd|pwd|token|secret|api_?key)(?:\s*=\s*|\\?["']\s*[:=]\s*\\?["']))(?!\*\*\*)[^\s&'",}\\]+""",
    re.IGNORECASE,
)
# Other names that makers give to it among the parameters of an address.
_PARAMETER = re.compile(
    r"(?P<keep>[?&;][^=&;\s]*(?:pass|pwd|token|secret|key|auth)[^=&;\s]*=)(?!\*\*\*)[^&;#\s'\"]*", re.IGNORECASE
)
_BEARER = re.compile(r"(?P<keep>\bBearer\s+)(?!\*\*\*)\S+", re.IGNORECASE)


def mask_secrets(text: str, known: Iterable[str] = ()) -> str:
    """`text` with every password and token in it replaced by `***`; `known` are secrets to hide wherever they stand.

    Hides rather too much than too little: an address whose path holds both a colon and an @ loses its middle.
    """
    for secret in known:
        text = text.replace(secret, MASK)
    text = _URL_PASSWORD.sub(rf"\g<keep>:{MASK}@", text)
    text = _PARAMETER.sub(rf"\g<keep>{MASK}", text)
    text = _NAMED_VALUE.sub(rf"\g<keep>{MASK}", text)
    return _BEARER.sub(rf"\g<keep>{MASK}", text)
