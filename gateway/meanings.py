"""The table of Twilio's error codes for voice calls: name, cause, where to look.

Names are Twilio's own (www.twilio.com/docs/api/errors). A W behind the code marks a warning, which
the call survives.
"""

from dataclasses import dataclass

_TABLE = """
10004 Call concurrency limit exceeded
too many calls at once
the account

11100 Invalid URL format
Twilio cannot read the URL
the URL in the number's settings, or in the TwiML

11200 HTTP retrieval failure
the webhook answered 4xx or 5xx, or nothing that can be used
the hop that answered: without Proxy-Status, the request never reached the sidecar. 401 and 403: \
the signature

11201 HTTP connection timeout
nobody answered the TCP connection within 5 s, twice
a firewall, or a tunnel that is down

11202 HTTP connection refused
the address answered that nothing listens on that port
the listener of the ingress, its port

11203 HTTP communication timeout
the whole answer did not come within 15 s
the webhook application: what it waits for before it answers

11205 HTTP connection failure
the connection broke, or there is no way to that address
the network, a private address, a proxy that drops connections

11206 HTTP protocol violation
what answered does not speak HTTP, or speaks it wrongly
http sent to an https port; a broken proxy

11210 HTTP bad host name
the name does not resolve
DNS

11215 HTTP too many redirects
redirects without end
http-to-https or trailing-slash redirects that undo each other

11216 HTTP invalid redirect
a redirect without a usable Location
the hop that redirects

11217 HTTP error response
the webhook answered with an error status
the hop that answered; the alert keeps the response body

11220 SSL/TLS handshake error
no TLS was agreed on
what terminates TLS for this host; https sent to a plain port

11235 Certificate invalid: domain mismatch
the certificate is another host's
what terminates TLS for this host

11236 Certificate invalid: certificate expired
the certificate has expired
what terminates TLS for this host

11237 Certificate invalid: could not find path to certificate
the certificate's chain does not end in a known authority
what terminates TLS for this host: an intermediate certificate that it does not send

11750 TwiML response body too large
the answer is over 64 kB
an HTML page (an error page, a tunnel's warning) in place of TwiML

11770 Empty TwiML response body
the answer has no body
the webhook application

12100 Document parse failure
the answer is no well-formed XML
the webhook application: an unescaped &, text before <?xml, HTML

12101 Invalid Twilio Markup XML version
the XML version is not 1.0
the webhook application

12102 Document root element missing or invalid
the root element is not <Response>
the webhook application; element names are case-sensitive

12200 W Schema validation warning
TwiML has no such verb or attribute in that place
the webhook application: spelling; names are case-sensitive

12300 Invalid Content-Type
the answer is neither XML nor audio
the webhook application, or a tunnel's own HTML page

12400 Internal failure
Twilio's own fault
status.twilio.com

13224 Dial: invalid phone number
the number is no number, or not allowed
the TwiML; the account's geographic permissions

13227 Dial: no international authorization
calls to that country are not allowed
the account's geographic permissions

13247 Dial: invalid caller ID
the caller ID is not the account's
the callerId attribute in the TwiML

13420 Play: invalid Content-Type
what <Play> fetched is no audio
the server of that URL

13520 Say: invalid text
<Say> has no text, or too much
the webhook application

13805 W Trial call ended
a trial account's call reached its time limit
the account

15003 W Warning response to callback
a status callback was not answered with 2xx
the route of the status callback

20003 Authenticate
the account SID and the token do not belong together
the token: another region's, another sub-account's, or an old one

20404 Not found
there is no such call
a call that has ended, or another region's or account's

20429 Too many requests
too many REST requests
the rate of our own requests

21210 From number not verified
the caller's number is not the account's
the account

21211 Invalid To number
the number is no number
the number that was dialled

21212 Invalid From number
the caller's number is no number
the number that calls

21215 Geographic permission missing
calls to that country are not allowed
the account's geographic permissions

21219 To number not verified
a trial account calls verified numbers only
the account

21220 Invalid call state
the call is not in a state that allows the change
a hang-up or redirect of a call that has ended already

21262 W Answering machine detection without callback
AsyncAmd was asked for without a place to report to
AsyncAmdStatusCallback

31900 Stream - WebSocket error
no cause is known
StreamError of the stream's status callback

31901 Stream - WebSocket - Connection Timeout
nothing answered the WebSocket handshake
a firewall, a tunnel that is down, a proxy or gateway that takes the connection and says nothing

31902 Stream - WebSocket - Connection Refused
the address answered that nothing listens on that port
the port in the stream's URL, the listener of the ingress

31903 Stream - WebSocket - Connection Broken Pipe
the connection ended without a Close frame
a restart or crash of the gateway; a proxy's idle timeout or reload

31904 Stream - WebSocket - Host Unreachable
the stream's host does not resolve, or there is no way to it
DNS; a private address in the stream's URL

31910 Stream - WebSocket - SSL/TLS Error
no TLS, or none with a certificate that Twilio accepts
what terminates TLS for the stream's host: certificate, chain, a plain port

31920 Stream - WebSocket - Handshake Error
the handshake was answered with something other than 101, or with a 101 that breaks RFC 6455
the hop that answered. 404: the path is not routed to the gateway. 400, 426: a proxy took Upgrade \
away. 401, 403: signature, Origin, access check. 502, 503: nothing healthy behind the proxy. 301: \
redirects are not followed

31921 Stream - WebSocket - Close Error
the server closed the WebSocket
the gateway's log, by the close code. 1008: it refused the stream (token, unknown call). 1011: it \
failed. 1001: it is being restarted

31922 Stream - WebSocket - URL Schema Not Supported
the stream's URL is not wss://
what writes the TwiML: the public URL that it is configured with

31923 Stream - WebSocket - Malformed URL
the stream's URL is no URL
what writes the TwiML: a missing host, a doubled scheme, unescaped characters

31924 Stream - WebSocket - Protocol Error
what came is not RFC 6455, or came on a one-way stream
a proxy that re-frames or compresses; <Start><Stream> where <Connect> was meant

31930 W Stream - Upstream Congestion
the gateway does not read as fast as audio comes
the gateway's event loop; the bandwidth to it

31931 W Stream - Media Buffer Overflow
more than ten minutes of audio were waiting to be played
the gateway: it sends speech without pacing

31941 Stream - Invalid Track Configuration
<Connect><Stream> has the inbound track only
the track attribute in the TwiML

31950 W Stream - Protocol - Malformed Message
a message was binary, or no text
the gateway: messages are JSON text, audio is base64 in media.payload

31951 W Stream - Protocol - Invalid Message
a message was none of media, mark and clear as documented
the gateway: event, streamSid, and the one object that belongs to the event

32018 TwiML too long
Twiml of a REST request is over 4000 characters
Url in its place
"""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One code. `cause` and `look_at` are for people; `is_warning`: the call goes on."""

    code: int
    name: str
    cause: str
    look_at: str
    is_warning: bool = False


def _read(entry: str) -> Meaning:
    title, cause, look_at = entry.split("\n")
    code, _, name = title.partition(" ")
    return Meaning(int(code), name.removeprefix("W "), cause, look_at, name.startswith("W "))


MEANINGS = {entry.code: entry for entry in map(_read, _TABLE.strip().split("\n\n"))}


def meaning(code: int) -> Meaning:
    """What a code means. One that is not listed is told as such."""
    page = f"www.twilio.com/docs/api/errors/{code}"
    return MEANINGS.get(code) or Meaning(code, "an error of Twilio's", "not listed here", page)
