// What the answer of /console/data looks like. Knows no network.

import { Chart } from "./chart.js";
import { byId, button, keep, make, say, show, Table } from "./dom.js";
import { at, bytes, count, lasting, plural, rate } from "./format.js";

const WEEK = 7 * 86400;
// A process that has shown nothing new for so long hangs, or is gone.
const SILENT = 10;
const roles = { web: "accepts · ", worker: "uploads · " };
const causeOf = ([kind, bucket, stream]) => ({
  s3: `bucket ${bucket}`, denied: `stream ${stream} in ${bucket}`, disk: "the disk",
})[kind] ?? kind;

export class View {
  // `actions` has look(title, about, query) and replay(kind, entry, button).
  constructor(actions) {
    this.actions = actions;
    this.chart = new Chart(byId("chart"), byId("legend"));
    this.causes = new Table(byId("causes"), [
      { label: "What", className: "wide", text: (c) => causeOf(c.key) },
      { label: "Reason", text: (c) => c.reason },
      { label: "Since", className: "time wide", text: (c, now) => `${at(c.since, now)} (${lasting(now - c.since)})` },
      { label: "Tries", className: "number", text: (c) => count(c.failures) },
      { label: "Segments waiting", className: "number", text: (c) => count(c.waiting) },
      { label: "Last error", className: "mono wide", text: (c) => c.error },
    ], { key: (c) => c.key.join(" "), empty: "", label: "What fails now" });
    this.letters = new Table(byId("letters"), [
      { label: "Segment", className: "mono", text: (e) => e.name },
      { label: "Stream", text: (e) => e.stream },
      { label: "Payloads", className: "number", text: (e) => (e.payloads === null ? "?" : count(e.payloads)) },
      { label: "Reason", className: "reason", text: (e) => e.reason },
      { label: "", className: "actions", actions: (e) => [
        button("Show", () => actions.look(e.name, e.reason, { dead_letter: e.name })),
        button("Replay", (node) => actions.replay("dead-letters", e, node)),
      ] },
    ], { key: (e) => e.name, empty: "There are none.", label: "Dead letters" });
    this.quarantine = new Table(byId("quarantine"), [
      { label: "File", className: "mono", text: (e) => e.name },
      { label: "Size", className: "number", text: (e) => (e.size === null ? "?" : bytes(e.size)) },
      { label: "Reason", className: "reason", text: (e) => e.reason },
      { label: "", className: "actions", actions: (e) => [
        button("Show", () => actions.look(e.name, e.reason, { damaged: e.name })),
        button("Replay", (node) => actions.replay("quarantine", e, node)),
      ] },
    ], { key: (e) => e.name, empty: "It is empty.", label: "Quarantine" });
    this.#makeFlow();
  }

  #makeFlow() {
    this.streams = new Table(byId("streams"), [
      { label: "Stream", text: (s) => s.stream },
      { label: "Payloads/s", className: "number", text: (s) => rate(s.payloads_per_second) },
      { label: "Bytes/s", className: "number", text: (s) => bytes(s.bytes_per_second) },
      { label: "Open segments", className: "number", text: (s) => count(s.open_segments) },
      { label: "Payloads in them", className: "number", text: (s) => count(s.open_payloads) },
      { label: "Bytes in them", className: "number", text: (s) => bytes(s.open_size) },
      { label: "Open for", className: "number", text: (s, now) => (s.open_since === null ? "–" : lasting(now - s.open_since)) },
      { label: "Last object", className: "number time", text: (s, now) => (s.last ? at(s.last, now) : "–") },
    ], { key: (s) => s.stream, empty: "No stream has an open segment.", label: "Streams" });
    this.partitions = new Table(byId("partitions"), [
      { label: "Partition", className: "mono", text: (p) => p.name },
      { label: "Payloads/s", className: "number", text: (p, now) => rate(p.open_payloads / Math.max(1, now - p.open_since)) },
      { label: "Payloads in it", className: "number", text: (p) => count(p.open_payloads) },
      { label: "Bytes in it", className: "number", text: (p) => bytes(p.open_size) },
      { label: "Open for", className: "number", text: (p, now) => lasting(now - p.open_since) },
      { label: "Last object", className: "number time", text: (p, now) => (p.last ? at(p.last, now) : "–") },
    ], { key: (p) => p.name, empty: "", label: "Open partitions" });
    this.objects = new Table(byId("objects"), [
      { label: "Stored at", className: "time", text: (o, now) => at(o.at, now) },
      { label: "Stream", text: (o) => o.stream },
      { label: "Payloads", className: "number", text: (o) => count(o.payloads) },
      { label: "Bytes", className: "number", text: (o) => bytes(o.size) },
      { label: "In S3", className: "number", text: (o) => bytes(o.stored_size) },
      { label: "Key", className: "mono", text: (o) => o.key },
      { label: "", className: "actions", actions: (o) => [
        button("Look", () => this.actions.look(o.key, `s3://${o.bucket}`, { bucket: o.bucket, key: o.key })),
      ] },
    ], { key: (o) => o.segment, empty: "None was stored since the service started.", label: "Last objects" });
    this.keys = new Table(byId("keys"), [
      { label: "Key", text: (k) => k.name },
      { label: "Requests", className: "number", text: (k) => count(k.requests) },
      { label: "Bytes", className: "number", text: (k) => bytes(k.bytes) },
      { label: "Refused", className: "number", text: (k) => Object.entries(k.refused).map(([s, n]) => `${s}: ${count(n)}`).join(", ") || "–" },
    ], { key: (k) => k.name, empty: "The access file has no keys.", label: "Keys" });
  }

  update(data, now) {
    this.#verdict(data, now);
    this.#figures(data, now);
    this.#processes(data, now);
    show("causes-card", data.causes.length > 0);
    this.causes.update(data.causes, now);
    say("letters-count", data.dead_letters.count ? count(data.dead_letters.count) : "");
    this.letters.update(data.dead_letters.newest);
    show("quarantine-card", data.quarantine.count > 0);
    say("quarantine-count", count(data.quarantine.count));
    this.quarantine.update(data.quarantine.newest);
    const last = new Map();
    for (const o of data.objects) if (!last.has(o.stream)) last.set(o.stream, o.at);
    const streams = data.streams.map((s) => ({ ...s, last: last.get(s.stream) }));
    for (const [stream, moment] of last) {
      if (!streams.some((s) => s.stream === stream)) streams.push(atRest(stream, moment));
    }
    say("streams-count", plural(streams.length, "stream"));
    this.streams.update(streams, now);
    this.#partitions(data, now);
    say("objects-count", data.objects.length ? `the newest ${count(data.objects.length)}` : "");
    this.objects.update(data.objects, now);
    show("keys-card", data.keys !== null);
    if (data.keys) {
      const since = data.ready === null ? "since the spool was new" : "by the processes that run";
      say("keys-count", data.access_file_wrong ? "The access file is wrong: older rules hold." : since);
      this.keys.update(data.keys);
    }
  }

  #partitions(data, now) {
    const name = (stream, values) => `${stream}/${values}`;
    const last = new Map();
    for (const o of data.objects) {
      const partition = name(o.stream, o.values);
      if (!last.has(partition)) last.set(partition, o.at);
    }
    const named = data.streams.flatMap((s) => s.partitions.map((p) => ({ ...p, name: name(s.stream, p.values) })));
    show("partitions-part", named.length > 0);
    this.partitions.update(named.map((p) => ({ ...p, last: last.get(p.name) })), now);
  }

  draw(data) {
    this.chart.update(data);
  }

  #verdict(data, now) {
    const { state, text, since, why, notes } = data.verdict;
    byId("verdict").dataset.state = state;
    say("verdict-text", text);
    show("verdict-since", state !== "ok" && since !== null);
    if (since !== null) say("verdict-since", `The oldest came at ${at(since, now)}, ${lasting(now - since)} ago.`);
    show("verdict-why", why !== null);
    say("verdict-why", why ?? "");
    show("verdict-notes", notes.length > 0);
    keep(byId("verdict-notes"), notes, { key: (n) => n, create: () => make("li"), update: say });
    const titles = { ok: "", late: "! ", refusing: "✕ " };
    document.title = `${titles[state]}Bucket Brigade`;
    say("place", `s3://${data.bucket} · ${data.durability} mode`);
  }

  #figures(data, now) {
    say("accepted-rate", rate(data.rates.accepted));
    say("stored-rate", rate(data.rates.stored));
    say("refused-rate", rate(data.rates.refused));
    say("accepted-total", `${count(data.accepted)} in all`);
    say("stored-total", `${count(data.stored)} in all`);
    say("dead-total", data.dead ? `${plural(data.dead, "payload")} dead` : "no payload is dead");
    say("pending", count(data.pending));
    say("oldest", data.oldest_unstored_at === null ? "nothing waits" : `oldest ${lasting(now - data.oldest_unstored_at)}`);
    const { held_bytes: held, max_bytes: most, full_in_seconds: full } = data.space;
    say("space-name", { memory: "Memory", stored: "Memory", queue: "Held in Redis" }[data.durability] ?? "Spool");
    say("held", bytes(held));
    byId("space").value = most ? held / most : 0;
    const filling = full === null ? "not growing" : `full in ${full > WEEK ? "over a week" : lasting(full)}`;
    say("full", `of ${bytes(most)}, ${filling}`);
    say("queued", count(data.queued));
    say("max-queue", `of ${count(data.max_queue)}`);
    const workers = data.processes.filter((p) => data.ready === null || !isSilent(p, now)).flatMap((p) => p.workers);
    const idle = `${count(workers.filter((w) => w.work === null).length)} of ${plural(workers.length, "worker")} idle`;
    say("idle", data.ready === null ? idle : `${idle}, ${plural(data.ready, "segment")} ready in Redis`);
  }

  #processes(data, now) {
    const machines = data.ready === null ? "" : ` of ${plural(new Set(data.processes.map((p) => p.machine)).size, "machine")}`;
    say("processes-count", `${plural(data.processes.length, "process", "processes")}${machines}`);
    keep(byId("processes"), data.processes, {
      key: (p) => `${p.machine} ${p.started_at} ${p.pid}`,
      create: (p) => this.#makeProcess(p, data.ready !== null),
      update: (node, p) => {
        const silent = now - p.written_at;
        say(node.about, `${roles[p.role] ?? ""}since ${at(p.started_at, now)}${jobs(p)}`);
        const refuses = p.refusal ? ` ${p.role === "worker" ? "says" : "refuses"}: ${p.refusal}` : "";
        say(node.bad, isSilent(p, now) ? ` shows nothing new for ${lasting(silent)}` : refuses);
        node.classList.toggle("silent", isSilent(p, now));
        keep(node.pills, p.workers, {
          key: (w) => w.name,
          create: () => make("li"),
          update: (pill, w) => {
            pill.className = w.work ? "busy" : "";
            say(pill, `${w.name} ${w.work ? `${lasting(now - w.work.since)}, attempt ${w.work.attempt}` : "idle"}`);
          },
        });
        node.workers.update(p.workers.filter((w) => w.work || w.last_failure), now);
      },
    });
  }

  #makeProcess(p, isShared) {
    const node = make("div", { className: "process" });
    const title = make("h3", { text: isShared ? `${p.machine}, process ${p.pid}` : `Process ${p.pid}` });
    node.about = make("small");
    node.bad = make("span", { className: "bad" });
    title.append(node.about, node.bad);
    node.pills = make("ul", { className: "pills", "aria-label": `Workers of process ${p.pid}` });
    node.append(title, node.pills);
    node.workers = new Table(node, [
      { label: "Worker", className: "time", text: (w) => w.name },
      { label: "Doing", text: (w, now) => doing(w.work, now) },
      { label: "Last error", className: "error", text: (w, now) => (w.last_failure ? `${at(w.last_failure.at, now)} ${w.last_failure.error}` : "") },
    ], { key: (w) => w.name, empty: "", rowClass: (w) => (w.work ? "" : "rest"), label: `Workers of process ${p.pid} that upload or have failed` });
    return node;
  }
}

const isSilent = (process, now) => now - process.written_at > SILENT;

function doing(work, now) {
  if (!work) return "idle";
  const what = `${plural(work.payloads, "payload")} of ${work.stream} (${bytes(work.size)})`;
  return `uploads ${what} for ${lasting(now - work.since)}, attempt ${count(work.attempt)}: ${work.segment}`;
}

function jobs(process) {
  if (!process.max_queue) return "";
  const parked = Object.values(process.parked).reduce((sum, n) => sum + n, 0);
  return ` · ${plural(process.queued, "job")} queued${parked ? ` · ${count(parked)} parked` : ""}`;
}

function atRest(stream, last) {
  return {
    stream, last, open_segments: 0, open_payloads: 0, open_size: 0, open_since: null,
    payloads_per_second: 0, bytes_per_second: 0,
  };
}
