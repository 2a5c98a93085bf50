"""The three keysets: the master that encrypts, and the pair that signs and verifies API tokens.

They have Tink's format, as Hatchet writes it: the master is a cleartext AES256-GCM keyset, the JWT pair are
ES256 keysets encrypted by the master, each one base64 of JSON. Existing keysets therefore keep working.
"""

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broadaxe.auth import tink
from broadaxe.auth.tink import KeysetError
from broadaxe.clock import Ids
from broadaxe.config.errors import Problem, SettingsError
from broadaxe.config.sections.auth import EncryptionSettings

MASTER_FILE = "master.key"
PRIVATE_FILE = "private_ec256.key"
PUBLIC_FILE = "public_ec256.key"

_ES256 = 1
_NONCE = 12
_MARK = b"\x01"


class DecryptionError(ValueError):
    """A ciphertext that none of the keys made, or that was changed since."""


@dataclass(frozen=True, slots=True)
class _Cipher:
    mark: bytes
    aead: AESGCM = field(repr=False)


class Master:
    """The master keyset: authenticated encryption of stored secrets and of the other two keysets."""

    def __init__(self, keyset: tink.Keyset) -> None:
        """Take the AES-GCM keys of a keyset; raises `KeysetError` when there is none to encrypt with."""
        primary = keyset.primary(tink.AES_GCM)
        self._ciphers = tuple(_cipher(key) for key in keyset.enabled(tink.AES_GCM))
        self._primary = _cipher(primary)

    def encrypt(self, plaintext: bytes, associated: bytes, ids: Ids) -> bytes:
        """Encrypt; `associated` is not stored and must be the same when decrypting."""
        nonce = ids.random_bytes(_NONCE)
        return self._primary.mark + nonce + self._primary.aead.encrypt(nonce, plaintext, associated)

    def decrypt(self, ciphertext: bytes, associated: bytes) -> bytes:
        """Decrypt what any enabled key encrypted; raises `DecryptionError`."""
        for cipher in self._ciphers:
            body = ciphertext[len(cipher.mark) :]
            if not ciphertext.startswith(cipher.mark) or len(body) < _NONCE:
                continue
            try:
                return cipher.aead.decrypt(body[:_NONCE], body[_NONCE:], associated)
            except InvalidTag:
                continue
        raise DecryptionError("none of the master keys made this")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs tokens, and the `kid` it is known by (None: its tokens carry none)."""

    kid: str | None
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key that verifies tokens; with a `kid`, only those that name it."""

    kid: str | None
    public_key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Keysets:
    """The three keysets, ready for use."""

    master: Master
    signing: SigningKey
    verifying: tuple[VerifyingKey, ...]


@dataclass(frozen=True, slots=True)
class KeysetTexts:
    """The three keysets as they are written into settings and files; none of them is shown by `repr`."""

    master: str = field(repr=False)
    private: str = field(repr=False)
    public: str = field(repr=False)


def create_keysets(ids: Ids) -> KeysetTexts:
    """Make a new master and a new pair; every token made with another pair is void under these."""
    master_keyset = _single(
        tink.Key(tink.AES_GCM, tink.put(3, ids.random_bytes(32)), tink.SYMMETRIC, _new_key_id(ids))
    )
    master = Master(master_keyset)
    private_key = ec.generate_private_key(ec.SECP256R1())
    numbers = private_key.private_numbers()
    point = numbers.public_numbers
    public_value = tink.put(2, _ES256) + tink.put(3, _coordinate(point.x)) + tink.put(4, _coordinate(point.y))
    private_value = tink.put(2, public_value) + tink.put(3, _coordinate(numbers.private_value))
    key_id = _new_key_id(ids)
    private = _single(tink.Key(tink.JWT_ECDSA_PRIVATE, private_value, tink.ASYMMETRIC_PRIVATE, key_id))
    public = _single(tink.Key(tink.JWT_ECDSA_PUBLIC, public_value, tink.ASYMMETRIC_PUBLIC, key_id))
    return KeysetTexts(
        _encode(tink.to_json(master_keyset)),
        _encode(_seal(private, master, ids)),
        _encode(_seal(public, master, ids)),
    )


def load_keysets(encryption: EncryptionSettings) -> Keysets:
    """The keysets of a process; raises `SettingsError` naming each setting that is missing or wrong."""
    if encryption.cloudkms_enabled:
        raise SettingsError.single(
            "SERVER_ENCRYPTION_CLOUDKMS_ENABLED",
            "Google Cloud KMS is not supported; set SERVER_ENCRYPTION_MASTER_KEYSET or its _FILE",
        )
    problems: list[Problem] = []
    sources = (
        ("SERVER_ENCRYPTION_MASTER_KEYSET", encryption.master_keyset, encryption.master_keyset_file),
        (
            "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET",
            encryption.jwt_private_keyset,
            encryption.jwt_private_keyset_file,
        ),
        (
            "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET",
            encryption.jwt_public_keyset,
            encryption.jwt_public_keyset_file,
        ),
    )
    found = [_source(*source, problems) for source in sources]
    if problems:
        raise SettingsError(tuple(problems))
    return _open(found)


def open_keysets(texts: KeysetTexts) -> Keysets:
    """Keysets out of their texts; raises `SettingsError`, naming the settings they would be given by."""
    return _open(
        [
            ("SERVER_ENCRYPTION_MASTER_KEYSET", texts.master),
            ("SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET", texts.private),
            ("SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET", texts.public),
        ]
    )


def write_key_files(directory: Path, texts: KeysetTexts, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write the three files, readable by their owner only, and return their paths.

    Raises `FileExistsError` when one is there already, unless `overwrite`: a lost master key cannot be made
    again.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = {MASTER_FILE: texts.master, PRIVATE_FILE: texts.private, PUBLIC_FILE: texts.public}
    paths = tuple(directory / name for name in contents)
    if not overwrite:
        for path in paths:
            if path.exists():
                raise FileExistsError(f"{path} is there already")
    for path, text in zip(paths, contents.values(), strict=True):
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    return paths


def ensure_key_files(directory: Path, ids: Ids) -> EncryptionSettings:
    """The key files of a data directory, made when they are not all there; returns settings that name them.

    A set of which a file is missing has signed no token that could still be verified, so it is made anew.
    """
    paths = tuple(directory / name for name in (MASTER_FILE, PRIVATE_FILE, PUBLIC_FILE))
    if not all(path.is_file() for path in paths):
        write_key_files(directory, create_keysets(ids), overwrite=True)
    master, private, public = (str(path) for path in paths)
    return EncryptionSettings(
        master_keyset_file=master, jwt_private_keyset_file=private, jwt_public_keyset_file=public
    )


def _cipher(key: tink.Key) -> _Cipher:
    message = tink.Message(key.value)
    secret = message.data(3)
    if len(secret) not in {16, 32}:
        raise KeysetError("an AES key must have 16 or 32 bytes")
    mark = b"" if key.prefix == tink.PREFIX_RAW else _MARK + key.key_id.to_bytes(4, "big")
    return _Cipher(mark, AESGCM(secret))


def _single(key: tink.Key) -> tink.Keyset:
    return tink.Keyset(key.key_id, (key,))


def _new_key_id(ids: Ids) -> int:
    """A random id of 32 bits with the highest bit clear, never 0."""
    return (int.from_bytes(ids.random_bytes(4), "big") & 0x7FFFFFFF) or 1


def _coordinate(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def _seal(keyset: tink.Keyset, master: Master, ids: Ids) -> str:
    return tink.encrypted_to_json(master.encrypt(tink.to_binary(keyset), b"", ids), keyset)


def _source(variable: str, inline: str, file: str, problems: list[Problem]) -> tuple[str, str]:
    """The name of the setting that gave a keyset, and its text; the inline one wins."""
    if inline:
        return variable, inline
    name = f"{variable}_FILE"
    if not file:
        problems.append(
            Problem(variable, "", f"it or {name} must be set; `broadaxe keys create` makes the keysets")
        )
        return name, ""
    try:
        return name, Path(file).read_text(encoding="ascii")
    except OSError as error:
        problems.append(Problem(name, "", f"{file!r} cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        problems.append(Problem(name, "", f"{file!r} is not a keyset in base64"))
    return name, ""


def _open(sources: list[tuple[str, str]]) -> Keysets:
    """Open the master, then the pair it wraps, and see that the two halves belong together."""
    (master_name, master_text), (private_name, private_text), (public_name, public_text) = sources
    try:
        master = Master(tink.from_json(_plain(master_text).decode("utf-8")))
    except (KeysetError, UnicodeDecodeError) as error:
        raise SettingsError.single(master_name, f"the master keyset cannot be used: {_why(error)}") from None
    try:
        signing = _signing_key(_unseal(private_text, master))
    except KeysetError as error:
        raise SettingsError.single(private_name, f"the private keyset cannot be used: {error}") from None
    try:
        verifying = _verifying_keys(_unseal(public_text, master))
    except KeysetError as error:
        raise SettingsError.single(public_name, f"the public keyset cannot be used: {error}") from None
    own = signing.private_key.public_key().public_numbers()
    if not any(key.kid == signing.kid and key.public_key.public_numbers() == own for key in verifying):
        raise SettingsError.single(public_name, f"it does not belong to the key of {private_name}")
    return Keysets(master, signing, verifying)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, KeysetError) else "it is not a keyset in JSON"


def _plain(text: str) -> bytes:
    """The JSON or protobuf form behind the text of a setting, which is base64, or JSON as it is."""
    stripped = text.strip()
    return stripped.encode() if stripped.startswith("{") else tink.decode_base64(stripped)


def _unseal(text: str, master: Master) -> tink.Keyset:
    try:
        return tink.from_binary(master.decrypt(tink.ciphertext_of(_plain(text)), b""))
    except DecryptionError:
        raise KeysetError("the master keyset does not decrypt it") from None


def _signing_key(keyset: tink.Keyset) -> SigningKey:
    key = keyset.primary(tink.JWT_ECDSA_PRIVATE)
    message = tink.Message(key.value)
    public_value = message.data(2)
    secret = int.from_bytes(message.data(3), "big")
    point = _public_key(public_value).public_numbers()
    try:
        private_key = ec.EllipticCurvePrivateNumbers(secret, point).private_key()
    except ValueError:
        raise KeysetError("its private key is damaged") from None
    return SigningKey(_kid(key, public_value), private_key)


def _verifying_keys(keyset: tink.Keyset) -> tuple[VerifyingKey, ...]:
    return tuple(
        VerifyingKey(_kid(key, key.value), _public_key(key.value))
        for key in keyset.enabled(tink.JWT_ECDSA_PUBLIC)
    )


def _public_key(value: bytes) -> ec.EllipticCurvePublicKey:
    message = tink.Message(value)
    if message.number(2) != _ES256:
        raise KeysetError("its algorithm is not ES256")
    x, y = int.from_bytes(message.data(3), "big"), int.from_bytes(message.data(4), "big")
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise KeysetError("its public key is damaged") from None


def _kid(key: tink.Key, public_value: bytes) -> str | None:
    """The key's id in a token's header; keys without Tink's mark have one only when it was given to them."""
    if key.prefix == tink.PREFIX_TINK:
        return base64.urlsafe_b64encode(key.key_id.to_bytes(4, "big")).decode().rstrip("=")
    custom = tink.Message(tink.Message(public_value).data(5)).data(1)
    return custom.decode("utf-8", "replace") or None
