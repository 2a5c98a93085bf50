"""Hashing of passwords: scrypt of the standard library, in a text that names its own cost."""

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata

from broadaxe.clock import Ids

_LOG_N = 15
_R = 8
_P = 3
_SALT = 16
_SIZE = 32
_MAX_PASSWORD_BYTES = 1024
_FORM = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{1,88})\$([A-Za-z0-9+/]{1,88})\Z"
)


def hash_password(password: str, ids: Ids) -> str:
    """A salted hash as `$scrypt$ln=..,r=..,p=..$salt$hash`; takes about a tenth of a second and 32 MiB.

    Raises `ValueError` for an empty password or one above 1,024 bytes.
    """
    text = _normalised(password)
    if not text or len(text) > _MAX_PASSWORD_BYTES:
        raise ValueError("a password has 1 to 1,024 bytes")
    salt = ids.random_bytes(_SALT)
    digest = _scrypt(text, salt, _LOG_N, _R, _P, _SIZE)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_encode(salt)}${_encode(digest)}"


def verify_password(password: str, hashed: str) -> bool:
    """Whether a password is the one that was hashed; a text of another form is no match."""
    match = _FORM.match(hashed)
    text = _normalised(password)
    if match is None or not text or len(text) > _MAX_PASSWORD_BYTES:
        return False
    log_n, r, p = (int(group) for group in match.groups()[:3])
    if not (10 <= log_n <= 20 and 1 <= r <= 16 and 1 <= p <= 16):
        return False
    try:
        salt, digest = _decode(match[4]), _decode(match[5])
    except binascii.Error:
        return False
    return hmac.compare_digest(_scrypt(text, salt, log_n, r, p, len(digest)), digest)


def needs_rehash(hashed: str) -> bool:
    """Whether a hash was made with another cost than today's."""
    return not hashed.startswith(f"$scrypt$ln={_LOG_N},r={_R},p={_P}$")


def _normalised(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _scrypt(text: bytes, salt: bytes, log_n: int, r: int, p: int, size: int) -> bytes:
    memory = 128 * r * (2**log_n + p + 2)
    return hashlib.scrypt(text, salt=salt, n=2**log_n, r=r, p=p, maxmem=memory + 2**20, dklen=size)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
