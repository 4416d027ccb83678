@0xa93fc509624c72d9;
# What cloudflared asks of the edge by RPC (its tunnelrpc/proto/tunnelrpc.capnp), as far as an edge
# needs it. On the wire there are interface ids, method numbers and the order of fields, no names.

struct Auth { accountTag @0 :Text; tunnelSecret @1 :Data; }
struct Client { clientId @0 :Data; features @1 :List(Text); version @2 :Text; arch @3 :Text; }
struct Options {
  client @0 :Client;
  originLocalIp @1 :Data;
  replaceExisting @2 :Bool;
  compressionQuality @3 :UInt8;
  numPreviousAttempts @4 :UInt8;
}
struct Refusal { cause @0 :Text; retryAfter @1 :Int64; shouldRetry @2 :Bool; }
struct Details { uuid @0 :Data; locationName @1 :Text; remotelyManaged @2 :Bool; }
struct Response { result :union { error @0 :Refusal; details @1 :Details; } }

interface Registration @0xf71695ec7fe85497 {
  registerConnection @0 (auth :Auth, tunnelId :Data, connIndex :UInt8, options :Options)
    -> (result :Response);
  unregisterConnection @1 () -> ();
  updateLocalConfiguration @2 (config :Data) -> ();
}

# A request over QUIC, and what comes back (tunnelrpc/proto/quic_metadata_protocol.capnp).
struct Metadata { key @0 :Text; val @1 :Text; }
struct ConnectRequest {
  dest @0 :Text;
  type @1 :Kind;
  metadata @2 :List(Metadata);
  enum Kind { http @0; websocket @1; tcp @2; }
}
struct ConnectResponse { error @0 :Text; metadata @1 :List(Metadata); }
