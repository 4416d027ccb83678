// The button that asks the doctor, and what the doctor says.

import { post } from "./api.js";
import { find, make } from "./dom.js";

export function offerDoctor() {
  const form = find("doctor");
  const button = form.querySelector("button");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    show(make("p", {}, "The doctor probes each hop, from the inside out…"));
    try {
      const told = await post("/api/examinations", { public_url: find("public-url").value || null });
      show(...(told.error ? [make("p", { class: "bad" }, told.error)] : report(told)));
    } catch (error) {
      show(make("p", { class: "bad" }, error.message));
    } finally {
      button.disabled = false;
    }
  });
}

const show = (...parts) => find("diagnosis").replaceChildren(...parts);

function report({ diagnosis, html }) {
  return [
    make("p", { class: `verdict ${diagnosis.verdict}` }, diagnosis.sentence),
    ...diagnosis.findings.map((finding) => make("div", { class: "why" },
      make("h3", {}, `${finding.rule} ${finding.slug} at ${finding.hop}`),
      // The sentence above says it of the first.
      diagnosis.sentence.startsWith(finding.saw.slice(1), 1) ? null : make("p", {}, finding.saw), make("pre", {}, finding.fix))),
    make("button", { type: "button", onclick: () => save(html) }, "Save the whole report"),
  ];
}

/** As a file: the report has styles of its own, which this page's policy would not let in. */
function save(html) {
  const url = URL.createObjectURL(new Blob([html], { type: "text/html" }));
  make("a", { href: url, download: "hopscope-report.html" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
