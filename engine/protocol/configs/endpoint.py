"""Settings of asking an OpenAI-compatible endpoint: what jobs that may do so share.

The key is never a setting: only the name of the environment variable that holds it is.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.common import JobConfig, check_endpoint

KEY = "WORKBENCH_API_KEY"
"""The environment variable with an endpoint's key, if it wants one and no other is named."""

ENDPOINT_FIELDS = (
    "at_once", "requests_a_minute", "retries", "answer_seconds", "key_variable", "options",
    "price_in", "price_out", "budget",
)  # fmt: skip
"""What means nothing where no endpoint is asked."""


class EndpointConfig(JobConfig, frozen=True, kw_only=True):
    """What jobs share that may ask an endpoint."""

    at_once: Annotated[int, Meta(ge=1, le=256, description="Requests that wait for an answer at once.")] = 4
    requests_a_minute: Annotated[
        float, Meta(ge=0, description="Most requests a minute, repeated ones too; 0 is no limit.")
    ] = 0.0
    retries: Annotated[
        int,
        Meta(ge=0, le=50, description="Times that a request is repeated which the endpoint could not take."),
    ] = 6
    answer_seconds: Annotated[float, Meta(gt=0, description="Longest wait for one answer, in seconds.")] = (
        120.0
    )
    key_variable: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,79}\Z",
            description="Environment variable that holds the endpoint's key; the key itself is kept nowhere.",
            extra_json_schema={"form": "the name of an environment variable, not the key"},
        ),
    ] = KEY
    options: Annotated[
        str,
        Meta(
            description='JSON that is added to each request, {"reasoning_effort":"low"}; null drops a field.'
        ),
    ] = ""
    price_in: Annotated[float, Meta(ge=0, description="Price of a million tokens read.")] = 0.0
    price_out: Annotated[float, Meta(ge=0, description="Price of a million tokens written.")] = 0.0
    budget: Annotated[
        float,
        Meta(ge=0, description="Cost at which no more is asked, in the unit of the prices; 0 is no limit."),
    ] = 0.0

    def added(self) -> dict[str, Any]:
        """What `options` adds to each request.  Raises UsageError when it is no JSON object."""
        if not self.options.strip():
            return {}
        try:
            options = msgspec.json.decode(self.options)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UsageError(
                f'options is not JSON ({error}); write an object such as {{"top_p":1}}.'
            ) from None
        if not isinstance(options, dict):
            raise UsageError('options must be a JSON object, as in {"top_p":1}.')
        return options

    def check_asking(self, endpoint: str) -> None:
        """Refuse what is no address, and a budget without prices.  Raises UsageError."""
        check_endpoint(endpoint)
        if self.budget and not (self.price_in or self.price_out):
            raise UsageError("A budget needs prices: give price_in and price_out, a million tokens each.")
        self.added()
