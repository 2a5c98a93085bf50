"""Keys, log-in and sessions."""

from broadaxe.config.declare import ignored, later, section, used
from broadaxe.config.kinds import BOOL, COMMA_LIST, MIXED_LIST, TEXT, WORDS


@section("Encryption keysets")
class EncryptionSettings:
    """The three keysets that `broadaxe keys create` makes.

    Every process needs the same ones; a text given inline wins over its file.
    """

    master_keyset: str = used(
        "SERVER_ENCRYPTION_MASTER_KEYSET",
        "encryption.masterKeyset",
        TEXT,
        default="",
        meaning="Master keyset: it encrypts stored secrets and wraps the two others.",
        secret=True,
    )
    master_keyset_file: str = used(
        "SERVER_ENCRYPTION_MASTER_KEYSET_FILE",
        "encryption.masterKeysetFile",
        TEXT,
        default="",
        meaning="File with the master keyset.",
    )
    jwt_public_keyset: str = used(
        "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET",
        "encryption.jwt.publicJWTKeyset",
        TEXT,
        default="",
        meaning="Keyset that verifies API tokens, wrapped by the master.",
        secret=True,
    )
    jwt_public_keyset_file: str = used(
        "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET_FILE",
        "encryption.jwt.publicJWTKeysetFile",
        TEXT,
        default="",
        meaning="File with that keyset.",
    )
    jwt_private_keyset: str = used(
        "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET",
        "encryption.jwt.privateJWTKeyset",
        TEXT,
        default="",
        meaning="Keyset that signs API tokens, wrapped by the master.",
        secret=True,
    )
    jwt_private_keyset_file: str = used(
        "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE",
        "encryption.jwt.privateJWTKeysetFile",
        TEXT,
        default="",
        meaning="File with that keyset.",
    )
    cloudkms_enabled: bool = used(
        "SERVER_ENCRYPTION_CLOUDKMS_ENABLED",
        "encryption.cloudKms.enabled",
        BOOL,
        default="false",
        meaning=(
            "Google Cloud KMS in place of the master keyset. Not supported: `true` is refused at the start."
        ),
    )
    cloudkms_key_uri: str = ignored(
        "SERVER_ENCRYPTION_CLOUDKMS_KEY_URI",
        "encryption.cloudKms.keyURI",
        TEXT,
        default="",
        meaning="Key at Google.",
        reason="Cloud KMS is not supported",
    )
    cloudkms_credentials_json: str = ignored(
        "SERVER_ENCRYPTION_CLOUDKMS_CREDENTIALS_JSON",
        "encryption.cloudKms.credentialsJSON",
        TEXT,
        default="",
        meaning="Credentials for it.",
        reason="Cloud KMS is not supported",
        secret=True,
    )


@section("Log-in of people")
class AuthSettings:
    """Sessions and passwords. API tokens do not depend on these."""

    restricted_email_domains: tuple[str, ...] = later(
        "SERVER_AUTH_RESTRICTED_EMAIL_DOMAINS",
        "auth.restrictedEmailDomains",
        COMMA_LIST,
        default="",
        meaning="Domains that e-mail addresses must belong to; empty means any.",
    )
    basic_auth_enabled: bool = later(
        "SERVER_AUTH_BASIC_AUTH_ENABLED",
        "auth.basicAuthEnabled",
        BOOL,
        default="true",
        meaning="Log-in with e-mail and password.",
    )
    set_email_verified: bool = later(
        "SERVER_AUTH_SET_EMAIL_VERIFIED",
        "auth.setEmailVerified",
        BOOL,
        default="false",
        meaning="Whether new accounts count as verified at once.",
    )
    cookie_name: str = later(
        "SERVER_AUTH_COOKIE_NAME",
        "auth.cookie.name",
        TEXT,
        default="hatchet",
        meaning="Name of the session cookie.",
    )
    cookie_domain: str = later(
        "SERVER_AUTH_COOKIE_DOMAIN",
        "auth.cookie.domain",
        TEXT,
        default="",
        meaning="Domain of the session cookie; the host of SERVER_URL.",
    )
    cookie_secrets: tuple[str, ...] = later(
        "SERVER_AUTH_COOKIE_SECRETS",
        "auth.cookie.secrets",
        WORDS,
        default="",
        meaning="Two random words that sign and encrypt the cookie.",
        secret=True,
    )
    cookie_insecure: bool = later(
        "SERVER_AUTH_COOKIE_INSECURE",
        "auth.cookie.insecure",
        BOOL,
        default="false",
        meaning="Send the cookie over plain http as well.",
    )


@section("Log-in with Google")
class GoogleSettings:
    """OAuth client for `/api/v1/users/google/callback`."""

    enabled: bool = later(
        "SERVER_AUTH_GOOGLE_ENABLED",
        "auth.google.enabled",
        BOOL,
        default="false",
        meaning="Whether it is offered.",
    )
    client_id: str = later(
        "SERVER_AUTH_GOOGLE_CLIENT_ID",
        "auth.google.clientID",
        TEXT,
        default="",
        meaning="Id of the OAuth client.",
    )
    client_secret: str = later(
        "SERVER_AUTH_GOOGLE_CLIENT_SECRET",
        "auth.google.clientSecret",
        TEXT,
        default="",
        meaning="Secret of the OAuth client.",
        secret=True,
    )
    scopes: tuple[str, ...] = later(
        "SERVER_AUTH_GOOGLE_SCOPES",
        "auth.google.scopes",
        MIXED_LIST,
        default="openid profile email",
        meaning="Scopes to ask for.",
    )


@section("Log-in with GitHub")
class GithubSettings:
    """OAuth client for `/api/v1/users/github/callback`."""

    enabled: bool = later(
        "SERVER_AUTH_GITHUB_ENABLED",
        "auth.github.enabled",
        BOOL,
        default="false",
        meaning="Whether it is offered.",
    )
    client_id: str = later(
        "SERVER_AUTH_GITHUB_CLIENT_ID",
        "auth.github.clientID",
        TEXT,
        default="",
        meaning="Id of the OAuth client.",
    )
    client_secret: str = later(
        "SERVER_AUTH_GITHUB_CLIENT_SECRET",
        "auth.github.clientSecret",
        TEXT,
        default="",
        meaning="Secret of the OAuth client.",
        secret=True,
    )
    scopes: tuple[str, ...] = later(
        "SERVER_AUTH_GITHUB_SCOPES",
        "auth.github.scopes",
        MIXED_LIST,
        default="read:user user:email",
        meaning="Scopes to ask for.",
    )


@section("Exchange tokens")
class ExchangeTokenSettings:
    """Tokens of Hatchet's hosted control plane."""

    enabled: bool = ignored(
        "SERVER_AUTH_CONTROL_PLANE_EXCHANGE_TOKEN_ENABLED",
        "auth.controlPlaneExchangeToken.enabled",
        BOOL,
        default="false",
        meaning="Whether such tokens count.",
        reason="there is no hosted control plane",
    )
    jwt_public_keyset: str = ignored(
        "SERVER_AUTH_CONTROL_PLANE_EXCHANGE_TOKEN_JWT_PUBLIC_KEYSET",
        "auth.controlPlaneExchangeToken.jwtPublicKeyset",
        TEXT,
        default="",
        meaning="Keyset that would verify them.",
        reason="there is no hosted control plane",
        secret=True,
    )
    jwt_public_keyset_file: str = ignored(
        "SERVER_AUTH_CONTROL_PLANE_EXCHANGE_TOKEN_JWT_PUBLIC_KEYSET_FILE",
        "auth.controlPlaneExchangeToken.jwtPublicKeysetFile",
        TEXT,
        default="",
        meaning="File with that keyset.",
        reason="there is no hosted control plane",
    )
    issuer: str = ignored(
        "SERVER_AUTH_CONTROL_PLANE_EXCHANGE_TOKEN_ISSUER",
        "auth.controlPlaneExchangeToken.issuer",
        TEXT,
        default="",
        meaning="Issuer they would name.",
        reason="there is no hosted control plane",
    )
    audience: str = ignored(
        "SERVER_AUTH_CONTROL_PLANE_EXCHANGE_TOKEN_AUDIENCE",
        "auth.controlPlaneExchangeToken.audience",
        TEXT,
        default="",
        meaning="Audience they would name.",
        reason="there is no hosted control plane",
    )
