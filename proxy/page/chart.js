// Small drawings: the phases of a handshake as one bar, a minute of a number as a line.

import { draw } from "./dom.js";

const PHASES = ["head", "connect", "response"];
const WIDTH = 100;

/** The parts of a handshake's time, each in its share of the whole; `phases` are milliseconds. */
export function phaseBar(phases) {
  const parts = PHASES.map((name) => [name, phases[name] ?? 0]);
  const known = parts.reduce((sum, [, ms]) => sum + ms, 0);
  const whole = Math.max(phases.total ?? 0, known);
  const told = [...parts, ["sidecar", whole - known]].filter(([, ms]) => ms > 0);
  let x = 0;
  const rects = told.map(([name, ms]) => {
    const width = (ms / whole) * WIDTH;
    x += width;
    return draw("rect", { class: name, x: x - width, y: 0, width, height: 10 });
  });
  const label = told.map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(", ");
  return draw("svg", { class: "bar", viewBox: `0 0 ${WIDTH} 10`, preserveAspectRatio: "none", role: "img" },
    draw("title", {}, label || "no phase was reached"), ...rects);
}

/**
 * A minute of one number for both senders, or for one where the other's is null; one value a second.
 * The newest is at the right edge. What is known fills the width, and is pressed together as it grows;
 * fewer than FEWEST values do not, or two of them would look like a trend.
 */
export class Line {
  static POINTS = 60;
  static FEWEST = 10;

  constructor(title) {
    this.values = { client: [], server: [] };
    this._paths = { client: draw("path", { class: "client" }), server: draw("path", { class: "server" }) };
    this._title = draw("title", {}, title);
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", role: "img" },
      this._title, this._paths.client, this._paths.server);
    this.name = title;
  }

  get length() {
    return Math.max(this.values.client.length, this.values.server.length);
  }

  add(client, server) {
    const known = [["client", client], ["server", server]].filter(([, value]) => value != null);
    for (const [sender, value] of known) {
      const values = this.values[sender];
      values.push(value);
      if (values.length > Line.POINTS) values.shift();
    }
    const step = WIDTH / (Math.max(this.length, Line.FEWEST) - 1);
    const highest = Math.max(...this.values.client, ...this.values.server, 1e-9);
    for (const sender of ["client", "server"]) {
      const values = this.values[sender];
      this._paths[sender].setAttribute("d", values.map((value, index) => {
        const x = WIDTH - (values.length - 1 - index) * step;
        return `${index ? "L" : "M"}${x.toFixed(2)} ${(18 - (value / highest) * 16).toFixed(2)}`;
      }).join(""));
    }
    const told = known.map(([sender, value]) => `${sender} ${value.toFixed(1)}`);
    this._title.textContent = `${this.name}: ${told.join(", ")}`;
  }
}
