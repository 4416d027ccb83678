"""The voice gateway: Twilio's webhooks, Media Streams both ways, speech.

Words used throughout:

    call        one phone call, named by its CallSid
    stream      the WebSocket of one call's audio (Twilio Media Streams), named by its streamSid
    frame       20 ms of mu-law audio: 160 bytes
    turn        what one party said before the other answered; by the caller or by the agent
    utterance   the caller's speech from its first voiced window to the silence that ends it
    mark        Twilio's word for a bookmark in the audio, echoed once all before it was played
    plan        what a call is for: to converse, or to say one text and hang up

Pure modules (no asyncio, clock, socket or logging): g711, resample, messages, turns, sentences,
markdown, playout, addresses, signatures, twiml, answers, calls, pace, dial_errors, journal. The
rest is the shell around them.
"""
