"""How people are told: e-mail and Slack."""

from broadaxe.config.declare import later, section
from broadaxe.config.kinds import BOOL, EMAIL_KIND, HOST_PORT, MIXED_LIST, TEXT


@section("Alerts to Slack")
class SlackSettings:
    """The Slack application that tenants install for alerts."""

    enabled: bool = later(
        "SERVER_TENANT_ALERTING_SLACK_ENABLED",
        "tenantAlerting.slack.enabled",
        BOOL,
        default="false",
        meaning="Whether it is offered.",
    )
    client_id: str = later(
        "SERVER_TENANT_ALERTING_SLACK_CLIENT_ID",
        "tenantAlerting.slack.clientID",
        TEXT,
        default="",
        meaning="Id of the application.",
    )
    client_secret: str = later(
        "SERVER_TENANT_ALERTING_SLACK_CLIENT_SECRET",
        "tenantAlerting.slack.clientSecret",
        TEXT,
        default="",
        meaning="Secret of the application.",
        secret=True,
    )
    scopes: tuple[str, ...] = later(
        "SERVER_TENANT_ALERTING_SLACK_SCOPES",
        "tenantAlerting.slack.scopes",
        MIXED_LIST,
        default="incoming-webhook",
        meaning="Scopes to ask for.",
    )


@section("E-mail")
class EmailSettings:
    """How invitations and alerts are mailed."""

    kind: str = later(
        "SERVER_EMAIL_KIND",
        "email.kind",
        EMAIL_KIND,
        default="postmark",
        meaning="`postmark` or `smtp`.",
    )
    postmark_enabled: bool = later(
        "SERVER_EMAIL_POSTMARK_ENABLED",
        "email.postmark.enabled",
        BOOL,
        default="false",
        meaning="Whether Postmark may be used.",
    )
    postmark_server_key: str = later(
        "SERVER_EMAIL_POSTMARK_SERVER_KEY",
        "email.postmark.serverKey",
        TEXT,
        default="",
        meaning="Key for it.",
        secret=True,
    )
    postmark_from_email: str = later(
        "SERVER_EMAIL_POSTMARK_FROM_EMAIL",
        "email.postmark.fromEmail",
        TEXT,
        default="",
        meaning="Address mails come from.",
    )
    postmark_from_name: str = later(
        "SERVER_EMAIL_POSTMARK_FROM_NAME",
        "email.postmark.fromName",
        TEXT,
        default="Hatchet Support",
        meaning="Name mails come from.",
    )
    postmark_support_email: str = later(
        "SERVER_EMAIL_POSTMARK_SUPPORT_EMAIL",
        "email.postmark.supportEmail",
        TEXT,
        default="",
        meaning="Address for help, shown in mails.",
    )
    smtp_enabled: bool = later(
        "SERVER_EMAIL_SMTP_ENABLED",
        "email.smtp.enabled",
        BOOL,
        default="false",
        meaning="Whether SMTP may be used.",
    )
    smtp_server_addr: str = later(
        "SERVER_EMAIL_SMTP_SERVER_ADDR",
        "email.smtp.serverAddr",
        HOST_PORT,
        default="",
        meaning="Mail server as host:port.",
    )
    smtp_from_email: str = later(
        "SERVER_EMAIL_SMTP_FROM_EMAIL",
        "email.smtp.fromEmail",
        TEXT,
        default="",
        meaning="Address mails come from.",
    )
    smtp_from_name: str = later(
        "SERVER_EMAIL_SMTP_FROM_NAME",
        "email.smtp.fromName",
        TEXT,
        default="Hatchet Support",
        meaning="Name mails come from.",
    )
    smtp_support_email: str = later(
        "SERVER_EMAIL_SMTP_SUPPORT_EMAIL",
        "email.smtp.supportEmail",
        TEXT,
        default="",
        meaning="Address for help, shown in mails.",
    )
    smtp_username: str = later(
        "SERVER_EMAIL_SMTP_AUTH_USERNAME",
        "email.smtp.basicAuth.username",
        TEXT,
        default="",
        meaning="User name at the mail server.",
    )
    smtp_password: str = later(
        "SERVER_EMAIL_SMTP_AUTH_PASSWORD",
        "email.smtp.basicAuth.password",
        TEXT,
        default="",
        meaning="Password at the mail server.",
        secret=True,
    )
