// The list of handshakes: newest first, each opening into both heads and what is to be said of it.

import { get } from "./api.js";
import { phaseBar } from "./chart.js";
import { clock, facts, find, make } from "./dom.js";

const KEPT = 1000;
const GOOD = new Set(["upgraded", "answered"]);
const SOFT = new Set(["refused", "client_left"]);
const WHY_NOT = {
  malformed_url: "its URL is malformed",
  not_wss: "Twilio dials nothing but wss://",
  has_query: "it has a query, which Twilio drops",
  host_not_public: "its host is known to a local network only",
  host_elsewhere: "the webhook came in under another name",
  path_not_routed_here: "no route takes its path",
  arrived_without_upgrade: "a request came without Upgrade: a hop in front took it away",
  arrived_elsewhere: "an upgrade came for another path",
  stream_error: "Twilio says that it failed",
  call_ended: "the call ended before",
  unknown: "nothing came: a hop in front answered it, or Twilio never asked",
};

export class Handshakes {
  constructor() {
    this._list = find("handshakes");
    this._items = new Map(); // id to {row, element}, newest last
    this._waiting = [];
    this._probes = new Set(); // ids of what the doctor sent
    this._filters = { ingress: find("by-ingress"), outcome: find("by-outcome"), text: find("by-text"), probes: find("by-probes") };
    for (const filter of Object.values(this._filters)) filter.addEventListener("input", () => this._filter());
    find("filters").addEventListener("submit", (event) => event.preventDefault());
    this._list.addEventListener("keydown", (event) => this._move(event));
  }

  /** Rows of the history, newest first: those that are not in the list yet. */
  load(rows) {
    for (const row of rows) if (row.probe_id) this._probes.add(row.id);
    for (const row of [...rows].reverse()) if (!this._items.has(row.id)) this._add(row, false);
    this._settle();
  }

  /** One that has just come. Many at once are shown together, with the next frame. */
  receive(row) {
    if (row.probe_id) this._probes.add(row.id);
    if (this._waiting.push(row) > 1) return;
    requestAnimationFrame(() => {
      for (const each of this._waiting) if (!this._items.has(each.id)) this._add(each, true);
      this._waiting = [];
      this._settle();
    });
  }

  /** A stream that TwiML advertised and nobody asked for: no handshake, and all the more to be seen. */
  receiveMissing(missing) {
    const id = `missing ${missing.url} ${missing.exchange}`;
    const because = (missing.because ?? []).map((fact) => WHY_NOT[fact] ?? fact).join("; ");
    const said = `never arrived: ${missing.url} was advertised to Twilio ${missing.waited_s} s ago: ${because}`;
    const element = make("li", { class: "missing new" },
      make("details", {}, make("summary", {}, make("span", { class: "mono" }, clock(new Date())),
        make("span", { class: "bad outcome" }, said)),
      make("div", { class: "detail" }, facts([["call", missing.call_sid], ["webhook", missing.exchange]]))));
    this._items.set(id, { row: { id, outcome: "never_arrived", ingress: "", target: missing.url, call_sid: missing.call_sid }, element });
    this._list.prepend(element);
    this._settle();
  }

  isProbe(id) {
    return this._probes.has(id);
  }

  /** The newest row that a route took, by its upstream. */
  newestOf(upstream) {
    return this._newest((row) => row.upstream === upstream);
  }

  get newest() {
    return this._newest((row) => row.outcome !== "never_arrived");
  }

  /** Of calls: what the doctor sends past an ingress, to each hop by itself, is no call's way. */
  _newest(fits) {
    return [...this._items.values()].reverse().find(({ row }) => !row.probe_id && fits(row))?.row;
  }

  _add(row, isNew) {
    const details = make("details", {}, summaryOf(row));
    details.addEventListener("toggle", () => details.open && open(details, row.id), { once: true });
    const element = make("li", { class: isNew ? "new" : null }, details);
    this._items.set(row.id, { row, element });
    this._list.prepend(element);
    offer(this._filters.ingress, row.ingress);
    offer(this._filters.outcome, row.outcome);
  }

  _settle() {
    for (const [id, { element }] of this._items) {
      if (this._items.size <= KEPT) break;
      element.remove();
      this._items.delete(id);
    }
    this._filter();
  }

  _filter() {
    const { ingress, outcome, text, probes } = this._filters;
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    for (const { row, element } of this._items.values()) {
      const fits = (!ingress.value || row.ingress === ingress.value) &&
        (!outcome.value || row.outcome === outcome.value) &&
        (probes.checked || !row.probe_id) &&
        (!wanted || `${row.call_sid ?? ""} ${row.target ?? ""} ${row.id}`.toLowerCase().includes(wanted));
      if (element.hidden === fits) element.hidden = !fits;
      shown += fits;
    }
    const all = this._items.size;
    find("handshakes-count").textContent = shown === all ? all : `${shown} of ${all}`;
    find("handshakes-empty").hidden = all > 0;
  }

  /** Up and down go from one handshake to the next, as in any list. */
  _move(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!step || event.target.tagName !== "SUMMARY") return;
    let item = event.target.closest("li")[step];
    while (item?.hidden) item = item[step];
    if (!item) return;
    event.preventDefault();
    item.querySelector("summary").focus();
  }
}

function offer(select, value) {
  if (value && ![...select.options].some((option) => option.value === value)) {
    select.append(make("option", { value }, words(value)));
  }
}

export function tone(outcome) {
  return GOOD.has(outcome) ? "good" : SOFT.has(outcome) ? "maybe" : "bad";
}

export const words = (name) => name.replaceAll("_", " ");

function summaryOf(row) {
  const status = row.status ? ` ${row.status}` : "";
  return make("summary", {},
    make("time", { class: "mono", datetime: row.at }, clock(row.at)),
    make("span", { class: `outcome ${tone(row.outcome)}` }, `${words(row.outcome)}${status}`),
    make("span", { class: "ingress" }, row.probe_id ? `${row.ingress}, probe` : row.ingress),
    make("span", { class: "client mono" }, row.client ?? "unix"),
    make("span", { class: "path mono" }, row.target ?? "no request line"),
    make("span", { class: "time mono" }, row.phases_ms?.total == null ? "" : `${row.phases_ms.total.toFixed(1)} ms`),
    phaseBar(row.phases_ms ?? {}));
}

async function open(details, id) {
  const box = make("div", { class: "detail" }, "…");
  details.append(box);
  try {
    box.replaceChildren(...detailOf(await get(`/api/handshakes/${encodeURIComponent(id)}`)));
  } catch (error) {
    box.replaceChildren(make("p", { class: "bad" }, error.message));
  }
}

function detailOf(row) {
  const violated = new Set((row.violations ?? []).map((violation) => violation.field.toLowerCase()));
  return [
    make("p", { class: "mono" }, `${row.method ?? "?"} ${row.target ?? ""}`,
      row.forwarded_target ? ` became ${row.forwarded_target}` : ""),
    row.reason && make("p", { class: "bad" }, row.reason),
    row.explanation && explanationOf(row.explanation),
    facts([["id", row.id], ["route", row.route], ["upstream", row.upstream], ["host", row.host],
      ["HTTP", row.http_version], ["call", row.call_sid], ["error", row.error],
      ...Object.entries(row.phases_ms ?? {}).map(([name, ms]) => [name, ms == null ? null : `${ms.toFixed(1)} ms`])]),
    ...(row.violations ?? []).map(violationOf),
    make("div", { class: "heads" },
      headOf("Request", row.request_head, violated),
      headOf("Answer", row.response_head, violated),
      row.raw_head && make("div", {}, make("h4", {}, "As received"), make("pre", {}, row.raw_head))),
    row.session && facts([["lasted", `${row.session.duration_s.toFixed(1)} s`], ["ending", endingOf(row.session)],
      ["code", row.session.close_code], ["stream", row.session.stream_sid]]),
  ].filter(Boolean);
}

function explanationOf(told) {
  return make("div", { class: "why" },
    make("h4", {}, `${told.rule} ${told.slug}: ${told.defect}`),
    make("p", {}, told.why),
    make("h4", {}, "Fix"), make("pre", {}, told.fix));
}

function violationOf(violation) {
  const source = violation.section.startsWith("RFC") ? violation.section : `RFC 6455 ${violation.section}`;
  const saw = violation.saw == null ? "absent" : `“${violation.saw}”`;
  return make("p", { class: "maybe" }, `✗ ${violation.field}: ${saw}, wanted ${violation.wanted} (${source})`);
}

function headOf(title, pairs, violated) {
  if (!pairs?.length) return null;
  const lines = pairs.flatMap(([name, value]) => {
    const text = `${name}: ${value ?? "(present)"}`;
    return [violated.has(name.toLowerCase()) ? make("span", { class: "violated" }, text) : text, "\n"];
  });
  return make("div", {}, make("h4", {}, title), make("pre", {}, ...lines));
}

export function endingOf(session) {
  return session.ending ? `${words(session.ending)}, by ${session.ended_by}` : "still open";
}
