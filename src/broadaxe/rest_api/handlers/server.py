"""The server itself: health, version, what clients must know at the start, the OpenAPI document."""

from broadaxe.domain.errors import Unimplemented
from broadaxe.rest_api.call import Answer, Call
from broadaxe.rest_api.models.envelope import APIError, APIErrors
from broadaxe.rest_api.models.fleet import APIMeta, APIMetaAuth, Version
from broadaxe.rest_api.problems import Refusal


async def get_ready(call: Call) -> Answer:
    """200 when requests can be served, 500 while not."""
    if not call.services.ready():
        raise Refusal(500, "Not ready: the database is away")
    return Answer(b"")


async def get_live(call: Call) -> Answer:
    """200 as long as the process answers."""
    return Answer(b"")


async def get_version(call: Call) -> Version:
    """The version that the server answers for."""
    return Version(call.services.options.version)


async def get_meta(call: Call) -> APIMeta:
    """What a client must know before it has an identity."""
    options = call.services.options
    return APIMeta(
        auth=APIMetaAuth(schemes=list(options.auth_schemes)),
        allow_signup=options.allow_signup,
        allow_invites=options.allow_invites,
        allow_create_tenant=options.allow_create_tenant,
        allow_change_password=options.allow_change_password,
        observability_enabled=options.observability_enabled,
    )


async def get_cloud_metadata(call: Call) -> APIErrors:
    """An error body: this is how clients tell that the server is not the vendor's cloud."""
    return APIErrors(errors=[APIError(description="This server is not a cloud offering")])


async def get_document(call: Call) -> Answer:
    """The OpenAPI document."""
    return Answer(call.services.document())


async def refuse_planned(call: Call) -> object:
    """501 that names what is missing."""
    raise Unimplemented(call.summary)
