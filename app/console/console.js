// The console: asks for the figures every two seconds, says when they are old, and acts on clicks.

import { byId, button, make, say, show } from "./dom.js";
import { at, bytes, lasting, plural } from "./format.js";
import { View } from "./view.js";

const EVERY = 2000;
const TIMEOUT = 10000;
const OLD = 6;
const ACTION = { "X-Requested-With": "console" };

let data = null;
let received = 0;
let failure = "";

// Without the key that the page's own URL may have: fetch refuses such URLs, and the browser knows it.
async function ask(path, options = {}) {
  const response = await fetch(`${location.origin}${path}`, { signal: AbortSignal.timeout(TIMEOUT), ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.detail ?? `the answer is ${response.status}`);
  return body;
}

function inWords(error) {
  if (error.name === "TimeoutError") return "the service does not answer";
  return error instanceof TypeError ? "the service cannot be reached" : error.message;
}

const view = new View({
  async look(title, about, query) {
    say("look-title", title);
    say("look-about", about);
    byId("look-lines").replaceChildren(make("li", { text: "…" }));
    if (!byId("look").open) byId("look").showModal();
    try {
      const found = await ask(`/console/lines?${new URLSearchParams(query)}`);
      byId("look-lines").replaceChildren(...found.lines.map((text) => make("li", { text })));
      say("look-about", found.more ? `${about} · the first lines` : about);
    } catch (error) {
      byId("look-lines").replaceChildren(make("li", { text: inWords(error), className: "error" }));
    }
  },
  // `kind` is where it is: dead-letters or quarantine.
  async replay(kind, { name }, node) {
    node.disabled = true;
    try {
      const path = `/console/${kind}/${encodeURIComponent(name)}/replay`;
      const { payloads } = await ask(path, { method: "POST", headers: ACTION });
      tell(payloads ? `${plural(payloads, "payload")} of ${name} on the way to S3 again.` : `All of ${name} is in S3.`);
      await refresh();
    } catch (error) {
      node.disabled = false;
      tell(`Not replayed: ${inWords(error)}`);
    }
  },
});

let telling = 0;
function tell(text) {
  say("message", text);
  show("message", true);
  clearTimeout(telling);
  telling = setTimeout(() => show("message", false), 8000);
}

// The figures' own time, gone on by this machine's clock: theirs may be set otherwise.
const now = () => data.at + (performance.now() - received) / 1000;

async function refresh() {
  try {
    const found = await ask("/console/data");
    [data, received, failure] = [found, performance.now(), ""];
    view.draw(data);
  } catch (error) {
    failure = inWords(error);
  }
  render();
}

function render() {
  const age = data === null ? Infinity : (performance.now() - received) / 1000;
  const old = age > OLD;
  document.body.classList.toggle("old", old && data !== null);
  show("stale", old && failure !== "");
  byId("age").dataset.state = old ? (data === null && !failure ? "" : "old") : "fresh";
  if (data === null) {
    say("stale", `There are no figures: ${failure}.`);
    say("age-text", failure ? "no figures" : "connecting …");
    return;
  }
  say("stale", `These figures are ${lasting(age)} old: ${failure || "the service does not answer"}.`);
  say("age-text", old ? `${lasting(age)} old` : `as of ${at(data.at, data.at)}`);
  view.update(data, now());
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, EVERY);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
setInterval(render, 1000);
poll();

byId("receipt-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const result = byId("receipt-result");
  const id = byId("receipt").value.trim().replace(/^.*\/receipts\//, "");
  try {
    const found = await ask(`/receipts/${encodeURIComponent(id)}`);
    result.replaceChildren(described(found));
    if (found.state === "stored") result.append(lookAt(found));
  } catch (error) {
    result.replaceChildren(make("p", { text: inWords(error), className: "error" }));
  }
});

function described(found) {
  const list = make("dl");
  const last = found.first_line + found.count - 1;
  const rows = [
    ["State", found.state], ["Object", found.object],
    ["Lines", found.count === 1 ? `${found.first_line}` : `${found.first_line} to ${last}`],
  ];
  if (found.stored_at) rows.push(["Stored at", at(found.stored_at, Date.now() / 1000)]);
  if (found.size) rows.push(["Size in S3", bytes(found.size)]);
  if (found.reason) rows.push(["Reason", found.reason]);
  for (const [term, text] of rows) list.append(make("dt", { text: term }), make("dd", { text }));
  return list;
}

function lookAt(found) {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.*)$/.exec(found.object);
  return button("Look at the object", () => view.actions.look(key, `s3://${bucket}`, { bucket, key }));
}
