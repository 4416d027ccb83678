"""Stand-ins of the cloud providers, on loopback, strict as the vendors are and strict with us.

    async with OpenAIStandIn() as vendor:          # on the test's own loop
        voice = openai.Voice(api_key=vendor.api_key, base_url=vendor.url)
    with DeepgramStandIn() as vendor: ...          # in a thread, for tests without a loop

    vendor.fail_with("rate_limited")                   # until vendor.work()
    vendor.complaints                                  # what our side did wrong

What a vendor would refuse is refused as the vendor does, in its words and with its status. What
only a mistake of our code could send is a complaint as well. Leaving the `with` block raises if
there were any.
"""

from stand_ins.deepgram import DeepgramStandIn
from stand_ins.elevenlabs import ElevenLabsStandIn
from stand_ins.openai import OpenAIStandIn

__all__ = ["DeepgramStandIn", "ElevenLabsStandIn", "OpenAIStandIn"]
