"""Keysets: Tink's are read, ours are whole, and every fault names its setting."""

import base64
import dataclasses
import json
import stat
from pathlib import Path

import jwt
import pytest
import tink_vectors

from broadaxe.auth import tink
from broadaxe.auth.keys import (
    DecryptionError,
    Keysets,
    KeysetTexts,
    create_keysets,
    ensure_key_files,
    load_keysets,
    open_keysets,
    write_key_files,
)
from broadaxe.clock import SystemIds
from broadaxe.config import SettingsError
from broadaxe.config.sections.auth import EncryptionSettings


def plain(text: str) -> str:
    return base64.b64decode(text + "=" * (-len(text) % 4)).decode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def test_open_keysets_made_by_tink_verify_its_token() -> None:
    keysets = open_keysets(KeysetTexts(tink_vectors.MASTER, tink_vectors.PRIVATE, tink_vectors.PUBLIC))
    assert keysets.signing.kid == tink_vectors.KID
    claims = jwt.decode(tink_vectors.TOKEN, keysets.verifying[0].public_key, algorithms=["ES256"])
    assert claims == {"iss": "x"}


def test_create_keysets_have_tinks_form(texts: KeysetTexts) -> None:
    for text in (texts.master, texts.private, texts.public):
        assert not text.endswith("=")
    (key,) = json.loads(plain(texts.master))["key"]
    assert key["keyData"]["typeUrl"] == "type.googleapis.com/google.crypto.tink.AesGcmKey"
    assert (key["keyData"]["keyMaterialType"], key["outputPrefixType"]) == ("SYMMETRIC", "TINK")
    assert key["status"] == "ENABLED"
    for text, kind in ((texts.private, "JwtEcdsaPrivateKey"), (texts.public, "JwtEcdsaPublicKey")):
        sealed = json.loads(plain(text))
        assert set(sealed) == {"encryptedKeyset", "keysetInfo"}
        assert sealed["keysetInfo"]["keyInfo"][0]["typeUrl"].endswith(kind)


def test_create_keysets_are_new_each_time(texts: KeysetTexts) -> None:
    other = create_keysets(SystemIds())
    assert other.master != texts.master
    with pytest.raises(SettingsError, match=r"SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET: .*does not decrypt"):
        open_keysets(dataclasses.replace(texts, master=other.master))


def test_keysets_are_not_shown(texts: KeysetTexts, keysets: Keysets) -> None:
    for text in (texts.master, texts.private, texts.public):
        assert text not in repr(texts) + repr(keysets)


def test_open_keysets_halves_of_two_pairs_are_refused(texts: KeysetTexts, keysets: Keysets) -> None:
    ids = SystemIds()
    other = create_keysets(ids)
    public = open_keysets(other).master.decrypt(tink.ciphertext_of(plain(other.public).encode()), b"")
    foreign = tink.encrypted_to_json(keysets.master.encrypt(public, b"", ids), tink.from_binary(public))
    with pytest.raises(
        SettingsError, match=r"PUBLIC_KEYSET: it does not belong to the key of .*PRIVATE_KEYSET"
    ):
        open_keysets(dataclasses.replace(texts, public=encoded(foreign)))


def test_load_keysets_missing_ones_are_all_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load_keysets(EncryptionSettings())
    assert [problem.name for problem in caught.value.problems] == [
        "SERVER_ENCRYPTION_MASTER_KEYSET",
        "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET",
        "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET",
    ]
    assert "broadaxe keys create" in str(caught.value)


def test_load_keysets_cloud_kms_is_refused_in_one_line() -> None:
    with pytest.raises(
        SettingsError, match=r"^SERVER_ENCRYPTION_CLOUDKMS_ENABLED: .*not supported"
    ) as caught:
        load_keysets(EncryptionSettings(cloudkms_enabled=True))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("master", "%%%", "not base64"),
        ("master", encoded("[]"), "not a keyset in JSON"),
        ("master", encoded("{}"), "no keys"),
        ("master", encoded('{"encryptedKeyset":"AA"}'), "encrypted"),
        ("master", encoded('{"primaryKeyId":1,"key":[{}]}'), "has no keyData"),
        ("private", encoded('{"key":[]}'), "not encrypted"),
        ("private", "AAAA", "not a protobuf message|not an encrypted keyset|cut short"),
        ("public", encoded('{"encryptedKeyset":"AAAA"}'), "does not decrypt"),
    ],
)
def test_open_keysets_damaged_one_names_its_setting(
    texts: KeysetTexts, field: str, text: str, reason: str
) -> None:
    name = {"master": "MASTER", "private": "JWT_PRIVATE", "public": "JWT_PUBLIC"}[field]
    with pytest.raises(SettingsError, match=reason) as caught:
        open_keysets(dataclasses.replace(texts, **{field: text}))
    assert caught.value.problems[0].name == f"SERVER_ENCRYPTION_{name}_KEYSET"


def test_open_keysets_cut_anywhere_is_a_settings_error(texts: KeysetTexts) -> None:
    for field in ("master", "private", "public"):
        whole = getattr(texts, field)
        for size in range(1, len(whole) - 4, 37):
            with pytest.raises(SettingsError):
                open_keysets(dataclasses.replace(texts, **{field: whole[:size]}))


def test_open_keysets_binary_and_plain_json_forms_are_read(texts: KeysetTexts) -> None:
    binary = tink.put(2, tink.ciphertext_of(plain(texts.private).encode()))
    private = base64.b64encode(binary).decode()
    made = open_keysets(KeysetTexts(plain(texts.master), private, f"\n{plain(texts.public)}\n"))
    assert made.signing.kid == open_keysets(texts).signing.kid


def test_write_key_files_are_for_the_owner_alone_and_load(tmp_path: Path, texts: KeysetTexts) -> None:
    paths = write_key_files(tmp_path / "keys", texts)
    assert [path.name for path in paths] == ["master.key", "private_ec256.key", "public_ec256.key"]
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    master, private, public = (str(path) for path in paths)
    settings = EncryptionSettings(
        master_keyset_file=master, jwt_private_keyset_file=private, jwt_public_keyset_file=public
    )
    assert load_keysets(settings).signing.kid == open_keysets(texts).signing.kid
    with pytest.raises(FileExistsError, match=r"master\.key is there already"):
        write_key_files(tmp_path / "keys", texts)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted(path.name for path in paths)


def test_load_keysets_unreadable_file_names_the_file_setting(tmp_path: Path, texts: KeysetTexts) -> None:
    settings = EncryptionSettings(
        master_keyset_file=str(tmp_path / "none"),
        jwt_private_keyset=texts.private,
        jwt_public_keyset=texts.public,
    )
    with pytest.raises(SettingsError, match=r"^SERVER_ENCRYPTION_MASTER_KEYSET_FILE: .*No such file"):
        load_keysets(settings)


def test_ensure_key_files_keeps_a_whole_set_and_makes_a_broken_one_anew(tmp_path: Path) -> None:
    ids = SystemIds()
    first = load_keysets(ensure_key_files(tmp_path, ids)).signing.kid
    assert load_keysets(ensure_key_files(tmp_path, ids)).signing.kid == first
    (tmp_path / "public_ec256.key").unlink()
    assert load_keysets(ensure_key_files(tmp_path, ids)).signing.kid != first


def test_master_encrypts_and_refuses_what_was_changed(keysets: Keysets) -> None:
    ids = SystemIds()
    sealed = keysets.master.encrypt(b"secret", b"row 1", ids)
    assert keysets.master.decrypt(sealed, b"row 1") == b"secret"
    assert b"secret" not in sealed
    for wrong, associated in (
        (sealed, b"row 2"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"row 1"),
        (sealed[:10], b"row 1"),
        (b"", b"row 1"),
    ):
        with pytest.raises(DecryptionError):
            keysets.master.decrypt(wrong, associated)


def test_disabled_keys_are_left_aside() -> None:
    text = plain(tink_vectors.MASTER).replace('"ENABLED"', '"DISABLED"')
    with pytest.raises(SettingsError, match="no enabled key"):
        open_keysets(KeysetTexts(encoded(text), tink_vectors.PRIVATE, tink_vectors.PUBLIC))
