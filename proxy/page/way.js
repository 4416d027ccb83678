// The hops of a call in a line: who came last, the sidecar, and each route with its gateway.

import { clock, find, make } from "./dom.js";
import { tone, words } from "./handshakes.js";

const BROKEN = new Set(["unreachable", "timeout", "upstream_closed"]);

export function showWay(index, handshakes, running) {
  const newest = handshakes.newest;
  const isLost = newest?.outcome === "not_an_upgrade";
  const ingress = newest && newest.ingress !== "unknown" ? newest.ingress : "ingress";
  const parts = [
    hop(ingress, newest ? `last seen ${clock(newest.at)}` : "nothing came yet"),
    hop("Hopscope", index.is_draining ? "draining" : `listens at ${index.listen ?? "nothing"}, ${running} running`, isLost),
  ];
  for (const route of index.routes) {
    const last = handshakes.newestOf(route.upstream);
    const state = last ? `${words(last.outcome)}${last.status ? ` ${last.status}` : ""}` : "not asked yet";
    parts.push(hop(`${route.name}: ${route.upstream}`, state, BROKEN.has(last?.outcome), last && tone(last.outcome)));
  }
  find("way").replaceChildren(...parts);
}

function hop(name, state, isBroken = false, colour = null) {
  return make("li", { class: isBroken ? "broken" : null },
    make("div", {}, make("b", {}, name), make("small", { class: colour }, state)));
}
