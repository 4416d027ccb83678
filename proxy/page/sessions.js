// Running streams as cards that draw a minute of their numbers, and the table of ended ones.

import { get } from "./api.js";
import { Line } from "./chart.js";
import { bytes, clock, facts, find, make } from "./dom.js";
import { endingOf } from "./handshakes.js";

const KEPT = 200;
const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

export class Sessions {
  constructor() {
    this._list = find("running");
    this._cards = new Map();
    this._ended = find("ended");
  }

  get count() {
    return this._cards.size;
  }

  /** Ask what runs. Called each second while somebody looks. */
  async refresh() {
    const { sessions, gap_bounds_s: bounds } = await get("/api/sessions");
    const now = performance.now();
    const running = new Set();
    for (const session of sessions) {
      running.add(session.id);
      let card = this._cards.get(session.id);
      if (!card) {
        card = new Card(session);
        this._cards.set(session.id, card);
        this._list.prepend(card.element);
      }
      card.show(session, now, bounds);
    }
    for (const [id, card] of this._cards) {
      if (running.has(id)) continue;
      card.element.remove();
      this._cards.delete(id);
    }
    find("running-count").textContent = this._cards.size;
    find("running-empty").hidden = this._cards.size > 0;
  }

  /** A stream that has ended; `at` is when, ISO 8601. */
  end(session, at = new Date().toISOString()) {
    const body = this._ended.tBodies[0];
    const frames = ["client", "server"].map((sender) => sum(session.frames[sender])).join(" / ");
    const cells = [clock(at), session.call_sid ?? session.id, session.ingress,
      `${session.duration_s.toFixed(1)} s`, endingOf(session), session.close_code ?? "none",
      session.close_reason ?? "", frames];
    body.prepend(make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
    while (body.rows.length > KEPT) body.lastElementChild.remove();
    this._ended.hidden = false;
    find("ended-empty").hidden = true;
    find("ended-count").textContent = body.rows.length;
  }

  forget() {
    this._ended.tBodies[0].replaceChildren();
  }
}

/** Seconds that no gap since `before` was longer than, as far as buckets can tell. */
function longestGap(buckets, before, bounds) {
  for (let index = buckets.length - 1; index >= 0; index -= 1) {
    if (buckets[index] > before[index]) return bounds[Math.min(index, bounds.length - 1)];
  }
  return 0;
}

class Card {
  constructor(session) {
    this._lines = {
      frames: new Line("frames/s"),
      payload: new Line("payload/s"),
      gap: new Line("gap ≤ ms"),
      jitter: new Line("jitter, ms"),
      buffer: new Line("buffered, s"),
    };
    this._told = Object.fromEntries(Object.keys(this._lines).map((name) => [name, make("span")]));
    this._names = make("p", { class: "names mono" });
    this._facts = make("div");
    this._span = make("span", {}, "seconds");
    this._rows = Object.fromEntries(Object.entries(this._lines).map(([name, line]) =>
      [name, make("div", { class: "chart" }, make("span", {}, line.name), line.svg, this._told[name])]));
    // Of Twilio's streams alone: how unevenly the caller's audio comes, how much the gateway is ahead.
    this._rows.jitter.hidden = this._rows.buffer.hidden = true;
    this.element = make("li", {},
      make("h3", {}, `${session.ingress} → ${session.route}`), this._names,
      make("p", { class: "legend" }, make("span", { class: "client" }, "client"), " / ",
        make("span", { class: "server" }, "server"), ", the last ", this._span),
      ...Object.values(this._rows), this._facts);
    this._before = null;
  }

  /** A number that only one of the two has, and only where it is known. */
  _draw(name, client, server, digits) {
    const value = client ?? server;
    this._rows[name].hidden = value == null;
    if (value == null) return;
    this._lines[name].add(client, server);
    this._told[name].textContent = value.toFixed(digits);
  }

  show(session, now, bounds) {
    const names = [session.call_sid, session.stream_sid].filter(Boolean).join(" ");
    this._names.textContent = names || session.id;
    const counted = Object.fromEntries(["client", "server"].map((sender) =>
      [sender, { frames: sum(session.frames[sender]), payload: sum(session.bytes[sender]) }]));
    if (this._before) {
      const seconds = Math.max((now - this._before.now) / 1000, 0.001);
      for (const name of ["frames", "payload"]) {
        const [client, server] = ["client", "server"].map((sender) =>
          (counted[sender][name] - this._before.counted[sender][name]) / seconds);
        this._lines[name].add(client, server);
        const show = name === "payload" ? bytes : Math.round;
        this._told[name].textContent = `${show(client)} / ${show(server)}`;
      }
      const [client, server] = ["client", "server"].map((sender) =>
        1000 * Math.max(session.silence_s[sender],
          longestGap(session.gap_buckets[sender], this._before.buckets[sender], bounds)));
      this._lines.gap.add(client, server);
      this._told.gap.textContent = `${Math.round(client)} / ${Math.round(server)}`;
      this._draw("jitter", session.jitter_ms, null, 1);
      this._draw("buffer", null, session.buffered_s, 2);
    }
    const drawn = this._lines.frames.length;
    this._span.textContent = drawn < 2 ? "seconds" : drawn < Line.POINTS ? `${drawn} s` : "minute";
    this._before = { now, counted, buckets: session.gap_buckets };
    const marks = session.marks;
    this._facts.replaceChildren(facts([
      ["for", `${session.duration_s.toFixed(0)} s`],
      ["sequence gaps", session.sequence_gaps],
      ["underruns", session.underruns],
      ["marks", marks && `${marks.echoed} of ${marks.sent}`],
      ["not followed", session.blind.client ?? session.blind.server],
    ]));
  }
}
