"""The simulated Twilio: one phone call, from its webhook to its last frame (`hopscope call`).

Read `call` first: it asks the webhook, has the TwiML obeyed, and ends in a report. Behind it:

    webhooks, forms, requested          what is asked over HTTP, and what of it is kept
    documents, verbs, interpreter       TwiML: read, and obeyed verb by verb on one `line`
    streams, stream, messages, playout  the Media Streams of the call, both ways
    dialogue, speech, clip, clips/      when the caller speaks, and what
    outcome, recording, report          what came of it; `calls` does many at once

Pure: requested, documents, verbs, messages, playout, dialogue, clip.
"""
