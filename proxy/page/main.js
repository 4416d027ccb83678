// What happens when: first what is known, then what comes, and each second what runs.

import { NoToken, follow, get, useToken } from "./api.js";
import { find } from "./dom.js";
import { offerDoctor } from "./doctor.js";
import { Handshakes } from "./handshakes.js";
import { Sessions } from "./sessions.js";
import { showWay } from "./way.js";

const LOADED = 500;
const EACH_MS = 1000;
const handshakes = new Handshakes();
const sessions = new Sessions();
let index = null;
let isLive = false;

function say(text, isLost = false) {
  find("state").textContent = text;
  find("state").classList.toggle("lost", isLost);
}

async function load() {
  index = await get("/");
  const { handshakes: rows } = await get(`/api/handshakes?limit=${LOADED}`);
  handshakes.load(rows);
  sessions.forget();
  for (const row of [...rows].reverse()) if (row.session?.ending && !row.probe_id) sessions.end(row.session, endOf(row));
  if (index.can_examine && find("doctor").hidden) offerDoctor();
  await look();
}

const endOf = (row) => new Date(Date.parse(row.at) + row.session.duration_s * 1000).toISOString();

async function look() {
  if (document.hidden || !index) return;
  await sessions.refresh();
  showWay(index, handshakes, sessions.count);
}

function receive(event, data) {
  if (event === "handshake") handshakes.receive(data);
  else if (event === "session") handshakes.isProbe(data.id) || sessions.end(data);
  else if (event === "stream_never_arrived") handshakes.receiveMissing(data);
  else if (event === "draining") index.is_draining = true;
  if (event === "handshake" || event === "session") look().catch(lost);
}

function lost(error) {
  isLive = false;
  if (error instanceof NoToken) {
    find("token").hidden = false;
    find("token-value").focus();
    say("A token is needed.", true);
  } else {
    say("Connection lost; trying again…", true);
  }
}

function run() {
  follow(
    () => {
      isLive = true;
      find("token").hidden = true;
      say("Live");
      load().catch(lost);
    },
    receive,
    lost,
  );
}

find("token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(find("token-value").value);
  find("token-value").value = "";
  run();
});
setInterval(() => isLive && look().catch(lost), EACH_MS);
run();
