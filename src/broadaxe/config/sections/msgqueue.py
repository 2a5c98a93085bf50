"""The message queue: PostgreSQL; the rest is accepted and left aside."""

from broadaxe.config.declare import ignored, section
from broadaxe.config.kinds import BOOL, COUNT, PUBSUB_KIND, QUEUE_KIND, TEXT


@section("Message queue")
class MessageQueueSettings:
    """Messages between replicas are rows in PostgreSQL.

    Settings for RabbitMQ and NATS are accepted with one warning, and PostgreSQL is used.
    """

    kind: str = ignored(
        "SERVER_MSGQUEUE_KIND",
        "msgQueue.kind",
        QUEUE_KIND,
        default="postgres",
        meaning="`postgres`; `rabbitmq` is accepted and `postgres` used.",
        aliases=("SERVER_TASKQUEUE_KIND",),
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_url: str = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_URL",
        "msgQueue.rabbitmq.url",
        TEXT,
        default="",
        meaning="URL of a RabbitMQ server.",
        reason="PostgreSQL is the message queue",
        secret=True,
        aliases=("SERVER_TASKQUEUE_RABBITMQ_URL",),
    )
    rabbitmq_max_pub_chans: int = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_MAX_PUB_CHANS",
        "msgQueue.rabbitmq.maxPubChans",
        COUNT,
        default="20",
        meaning="Channels for sending.",
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_max_sub_chans: int = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_MAX_SUB_CHANS",
        "msgQueue.rabbitmq.maxSubChans",
        COUNT,
        default="100",
        meaning="Channels for receiving.",
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_compression_enabled: bool = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_COMPRESSION_ENABLED",
        "msgQueue.rabbitmq.compressionEnabled",
        BOOL,
        default="false",
        meaning="Compression of messages.",
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_compression_threshold: int = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_COMPRESSION_THRESHOLD",
        "msgQueue.rabbitmq.compressionThreshold",
        COUNT,
        default="5120",
        meaning="Bytes from which messages are compressed.",
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_enable_message_rejection: bool = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_ENABLE_MESSAGE_REJECTION",
        "msgQueue.rabbitmq.enableMessageRejection",
        BOOL,
        default="false",
        meaning="Whether a message that keeps failing is set aside.",
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_max_death_count: int = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_MAX_DEATH_COUNT",
        "msgQueue.rabbitmq.maxDeathCount",
        COUNT,
        default="1000",
        meaning="Failures before it is set aside.",
        reason="PostgreSQL is the message queue",
    )
    rabbitmq_qos: int = ignored(
        "SERVER_MSGQUEUE_RABBITMQ_QOS",
        "msgQueue.rabbitmq.qos",
        COUNT,
        default="100",
        meaning="Messages fetched ahead.",
        reason="PostgreSQL is the message queue",
    )
    pubsub_kind: str = ignored(
        "SERVER_MSGQUEUE_PUBSUB_KIND",
        "msgQueue.pubSub.kind",
        PUBSUB_KIND,
        default="",
        meaning="`postgres`; `rabbitmq` and `nats` are accepted and `postgres` used.",
        reason="PostgreSQL is the message queue",
    )
    pubsub_rabbitmq_url: str = ignored(
        "SERVER_MSGQUEUE_PUBSUB_RABBITMQ_URL",
        "msgQueue.pubSub.rabbitmq.url",
        TEXT,
        default="",
        meaning="URL of a RabbitMQ server for short-lived messages.",
        reason="PostgreSQL is the message queue",
        secret=True,
    )
    pubsub_rabbitmq_max_pub_chans: int = ignored(
        "SERVER_MSGQUEUE_PUBSUB_RABBITMQ_MAX_PUB_CHANS",
        "msgQueue.pubSub.rabbitmq.maxPubChans",
        COUNT,
        default="10",
        meaning="Channels for sending them.",
        reason="PostgreSQL is the message queue",
    )
    pubsub_rabbitmq_max_sub_chans: int = ignored(
        "SERVER_MSGQUEUE_PUBSUB_RABBITMQ_MAX_SUB_CHANS",
        "msgQueue.pubSub.rabbitmq.maxSubChans",
        COUNT,
        default="20",
        meaning="Channels for receiving them.",
        reason="PostgreSQL is the message queue",
    )
    pubsub_postgres_max_conns: int = ignored(
        "SERVER_MSGQUEUE_PUBSUB_POSTGRES_MAX_CONNS",
        "msgQueue.pubSub.postgres.maxConns",
        COUNT,
        default="5",
        meaning="Connections of Hatchet's PostgreSQL fan-out, at most.",
        reason="one listening connection a process is enough",
    )
    pubsub_postgres_min_conns: int = ignored(
        "SERVER_MSGQUEUE_PUBSUB_POSTGRES_MIN_CONNS",
        "msgQueue.pubSub.postgres.minConns",
        COUNT,
        default="1",
        meaning="The same, at least.",
        reason="one listening connection a process is enough",
    )
    pubsub_nats_url: str = ignored(
        "SERVER_MSGQUEUE_PUBSUB_NATS_URL",
        "msgQueue.pubSub.nats.url",
        TEXT,
        default="",
        meaning="URL of a NATS server.",
        reason="PostgreSQL is the message queue",
        secret=True,
    )
    pubsub_nats_username: str = ignored(
        "SERVER_MSGQUEUE_PUBSUB_NATS_USERNAME",
        "msgQueue.pubSub.nats.username",
        TEXT,
        default="",
        meaning="User name there.",
        reason="PostgreSQL is the message queue",
    )
    pubsub_nats_password: str = ignored(
        "SERVER_MSGQUEUE_PUBSUB_NATS_PASSWORD",
        "msgQueue.pubSub.nats.password",
        TEXT,
        default="",
        meaning="Password there.",
        reason="PostgreSQL is the message queue",
        secret=True,
    )
    pubsub_nats_subject_prefix: str = ignored(
        "SERVER_MSGQUEUE_PUBSUB_NATS_SUBJECT_PREFIX",
        "msgQueue.pubSub.nats.subjectPrefix",
        TEXT,
        default="",
        meaning="Prefix of subjects there.",
        reason="PostgreSQL is the message queue",
    )
