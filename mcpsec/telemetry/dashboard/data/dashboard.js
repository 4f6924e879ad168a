"use strict";
// The live page. Every text from the server goes into the document as text, never as markup.

const prefix = document.body.dataset.prefix;
const byId = (id) => document.getElementById(id);
const OUTCOMES = ["allowed", "refused", "failed"];
const ROWS = 200;

const state = { seconds: [], minutes: [], second: 0, denials: [], alerts: [], range: "seconds", search: "", last: null, hover: null };

// --- small tools -------------------------------------------------------------------------------------------------

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function grade(id, level) {
  byId(id).className = level ? `figure ${level}` : "figure";
}

const whole = new Intl.NumberFormat("en");
const short = (value) => (value >= 10000 ? new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value) : whole.format(value));

function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ms`;
}

function span(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor((seconds % 86400) / 3600), minutes = Math.floor((seconds % 3600) / 60);
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min`;
}

const clock = (when) => new Date(when).toLocaleTimeString([], { hour12: false });
const total = (counts) => counts[0] + counts[1] + counts[2];
const EMPTY = [0, 0, 0, 0, 0];
const sum = (rows, key) => rows.reduce((all, row) => all + row[key], 0);

// --- theme -------------------------------------------------------------------------------------------------------

function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("mcpsec-theme", name); } catch { /* private browsing: the choice lasts as long as the page */ }
  draw();
}

function firstTheme() {
  try {
    const chosen = localStorage.getItem("mcpsec-theme");
    if (chosen === "dark" || chosen === "light") return chosen;
  } catch { /* as above */ }
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

// --- the traffic plot --------------------------------------------------------------------------------------------

function points() {
  if (state.range === "seconds") return { rows: grouped(state.seconds.slice(0, -1), 3), step: 3 };
  return { rows: state.range === "hour" ? state.minutes.slice(-60) : state.minutes, step: 60 };
}

function grouped(rows, size) {
  const groups = [];
  for (let end = rows.length; end >= size; end -= size) {
    groups.push(rows.slice(end - size, end).reduce((all, row) => all.map((count, which) => count + row[which]), EMPTY));
  }
  return groups.reverse();
}

function draw() {
  const canvas = byId("traffic"), ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight, { rows, step } = points();
  if (!width || !rows.length) return;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement), color = (name) => style.getPropertyValue(`--${name}`).trim();
  const left = 42, bottom = 20, top = 8, plotWidth = width - left - 4, plotHeight = height - top - bottom;
  const most = ceiling(Math.max(1, ...rows.map(total)) / step);
  const x = (index) => left + (plotWidth * index) / Math.max(1, rows.length - 1);
  const y = (value) => top + plotHeight * (1 - value / step / most);

  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = color("soft");
  pen.strokeStyle = color("edge");
  pen.lineWidth = 1;
  pen.textAlign = "right";
  for (const share of [0, 0.5, 1]) {
    const line = Math.round(top + plotHeight * (1 - share)) + 0.5;
    pen.beginPath(); pen.moveTo(left, line); pen.lineTo(width - 4, line); pen.stroke();
    pen.fillText(label(most * share), left - 6, line + 4);
  }
  pen.textAlign = "center";
  for (let mark = 0; mark <= 4; mark += 1) {
    const ago = ((rows.length - 1) * (4 - mark) * step) / 4;
    const text = clock((state.second - ago) * 1000);
    pen.textAlign = mark === 0 ? "left" : mark === 4 ? "right" : "center";
    if (width > 520 || mark % 2 === 0) pen.fillText(step < 60 ? text : text.slice(0, 5), x(((rows.length - 1) * mark) / 4), height - 5);
  }
  const base = rows.map(() => 0);
  OUTCOMES.forEach((outcome, which) => {
    if (which && !rows.some((row) => row[which])) return;
    const upper = rows.map((row, index) => base[index] + row[which]);
    pen.beginPath();
    upper.forEach((value, index) => (index ? pen.lineTo(x(index), y(value)) : pen.moveTo(x(index), y(value))));
    if (!which) { pen.strokeStyle = color(outcome); pen.lineWidth = 1.6; pen.lineJoin = "round"; pen.stroke(); }
    for (let index = rows.length - 1; index >= 0; index -= 1) pen.lineTo(x(index), y(base[index]));
    pen.closePath(); pen.globalAlpha = which ? 0.9 : 0.22; pen.fillStyle = color(outcome); pen.fill(); pen.globalAlpha = 1;
    upper.forEach((value, index) => { base[index] = value; });
  });
  const recent = rows.slice(step < 60 ? -20 : -60).reduce((all, row) => OUTCOMES.map((_, which) => all[which] + row[which]), [0, 0, 0]);
  canvas.setAttribute("aria-label", `Requests over time; of the last ${step < 60 ? "minute" : "hour"}: ${recent[0]} allowed, ${recent[1]} refused, ${recent[2]} failed`);
  hover(pen, rows, step, x, top, plotHeight, color, left, plotWidth);
}

function hover(pen, rows, step, x, top, plotHeight, color, left, plotWidth) {
  const tip = byId("tip");
  if (state.hover === null) { tip.hidden = true; return; }
  const index = Math.min(rows.length - 1, Math.max(0, Math.round(((state.hover - left) / plotWidth) * (rows.length - 1))));
  pen.strokeStyle = color("soft"); pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(x(index), top); pen.lineTo(x(index), top + plotHeight); pen.stroke();
  const when = clock((state.second - (rows.length - 1 - index) * step) * 1000), row = rows[index];
  tip.textContent = `${when}  ${OUTCOMES.map((outcome, which) => `${row[which]} ${outcome}`).join(" · ")}`;
  tip.hidden = false;
  tip.style.left = `${Math.max(0, Math.min(x(index) - tip.offsetWidth / 2, left + plotWidth - tip.offsetWidth))}px`;
}

function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((limit) => limit >= value) || value;
}

const label = (value) => (value >= 1000 ? `${value / 1000}k` : String(Math.round(value * 100) / 100));

// --- lists -------------------------------------------------------------------------------------------------------

function bars(id, rows, parts, text) {
  const most = Math.max(1, ...rows.map((row) => parts(row).reduce((all, [, count]) => all + count, 0)));
  const items = rows.map((row) => {
    const track = make("span", { class: "track" });
    for (const [kind, count] of parts(row)) {
      if (count <= 0) continue;
      const bar = make("i", { class: kind });
      bar.style.width = `${(100 * count) / most}%`;
      track.append(bar);
    }
    return make("li", {}, make("span", { class: "name", title: row.name }, row.name), make("span", { class: "count" }, text(row)), track);
  });
  byId(id).replaceChildren(...(items.length ? items : [make("li", { class: "empty" }, "nothing yet")]));
}

const decided = (row) => OUTCOMES.map((outcome) => [outcome, row[outcome]]);

const clients = (count) => (count === 1 ? "one client" : `${count} clients`);

function upstreams(rows) {
  const items = rows.map((row) => {
    const bad = row.breaker === "open" || !["up", "ready", "running"].includes(row.state);
    const warn = !bad && (row.breaker !== "closed" || row.breaker_clients > 0 || row.failed > 0);
    const words = [bad || warn ? row.state : null, row.breaker === "closed" ? null : `breaker ${row.breaker}`, row.breaker_clients ? `breaker open for ${clients(row.breaker_clients)}` : null, row.failed ? `${row.failed} failed` : null].filter(Boolean);
    return make("li", {}, make("span", { class: `dot ${bad ? "bad" : warn ? "warn" : ""}`, "aria-label": bad ? "down" : warn ? "degraded" : "up", role: "img" }, "●"),
      make("span", { class: "name", title: row.name }, row.name),
      make("span", { class: "note" }, `${short(row.requests)} · p95 ${milliseconds(row.latency_ms.p95)}`),
      words.length ? make("span", { class: "more" }, words.join(", ")) : null);
  });
  byId("upstreams").replaceChildren(...(items.length ? items : [make("li", { class: "empty" }, "no upstream")]));
}

// A life is due when a third of it is left, and pressing when a tenth is.
function urgency(row, now) {
  const left = row.not_after - now;
  return left < row.due_seconds * 0.3 ? "bad" : left < row.due_seconds ? "warn" : "good";
}

function certificates(rows, now) {
  const items = rows.slice(0, 30).map((row) => {
    const days = (row.not_after - now) / 86400, kind = { bad: "refused", warn: "failed", good: "good" }[urgency(row, now)];
    const mark = make("i", { class: kind }), rest = make("b", { class: kind });
    const place = `${Math.max(0, Math.min(days, 90)) / 0.9}%`;
    mark.style.left = place;
    rest.style.width = place;
    const left = days < 0 ? "ended" : days < 2 ? `${Math.round(days * 24)} h` : `${Math.floor(days)} d`;
    return make("li", {}, make("span", { class: "name", title: row.name }, row.name),
      make("span", { class: "count" }, left), make("span", { class: "track" }, rest, mark),
      make("span", { class: "more" }, new Date(row.not_after * 1000).toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" })));
  });
  byId("certificates").replaceChildren(...(items.length ? items : [make("li", { class: "empty" }, "none is watched")]));
}

function spark(id, values) {
  const drawing = byId(`spark-${id}`), most = Math.max(1, ...values), step = 60 / Math.max(1, values.length - 1);
  const line = values.map((value, index) => `${index ? "L" : "M"}${(index * step).toFixed(2)} ${(19 - (18 * value) / most).toFixed(2)}`).join("");
  drawing.querySelector(".line").setAttribute("d", line);
  drawing.querySelector(".area").setAttribute("d", `${line}L60 20L0 20Z`);
}

// What a person should know first, worst first.
function concerns(data) {
  const found = [], log = data.log || {};
  if (log.available === false) found.push(["bad", "The audit log cannot be written: requests are refused."]);
  for (const row of data.upstreams) {
    if (row.breaker === "open") found.push(["bad", `The breaker of ${row.name} is open.`]);
    else if (row.breaker !== "closed") found.push(["warn", `The breaker of ${row.name} is ${row.breaker}.`]);
    else if (row.breaker_clients) found.push(["warn", `The breaker of ${row.name} is open for ${clients(row.breaker_clients)}.`]);
    if (!["up", "ready", "running"].includes(row.state)) found.push(["bad", `${row.name} is ${row.state}.`]);
    else if (row.requests >= 20 && row.failed > row.requests / 10) found.push(["warn", `${Math.round((100 * row.failed) / row.requests)} % of the calls of ${row.name} fail.`]);
  }
  for (const row of data.certificates) {
    const left = row.not_after - data.now, how = urgency(row, data.now);
    if (left < 0) found.push(["bad", `${row.name} has ended.`]);
    else if (how !== "good") found.push([how, `${row.name} ends in ${span(left)}.`]);
  }
  const hour = data.now - 3600;
  const recent = state.alerts.filter((alert) => Date.parse(alert.time) / 1000 > hour && alert.severity !== "low").length;
  if (recent) found.push(["warn", recent === 1 ? "One alert within the hour." : `${recent} alerts within the hour.`]);
  return found.sort((one, other) => (one[0] === other[0] ? 0 : one[0] === "bad" ? -1 : 1));
}

function verdict(data) {
  const found = concerns(data), worst = found.length ? found[0][0] : "good";
  byId("verdict").className = `verdict ${worst}`;
  setText("verdict-text", worst === "good" ? "All is well." : worst === "bad" ? "Something needs you." : "Worth a look.");
  const text = found.map((each) => each[1]).join("\n");
  if (byId("concerns").dataset.text !== text) {
    byId("concerns").dataset.text = text;
    byId("concerns").replaceChildren(...found.slice(0, 6).map(([level, words]) => make("li", { class: level }, words)));
  }
  document.title = found.length ? `(${found.length}) mcpsec` : "mcpsec";
}

function alerts() {
  byId("alerts-card").hidden = state.alerts.length === 0;
  byId("alerts").replaceChildren(...state.alerts.slice(0, 20).map((alert) => make("li", {},
    make("span", { class: `dot ${["high", "critical"].includes(alert.severity) ? "bad" : "warn"}`, role: "img", "aria-label": alert.severity || "alert" }, "▲"),
    make("span", { class: "name" }, alert.name || "alert"), make("span", { class: "note" }, clock(alert.time)),
    make("span", { class: "more" }, alert.detail || ""))));
}

function explain(event) {
  if (!event.client || !event.resource || event.kind !== "authorization") return null;
  const button = make("button", { type: "button", class: "copy", "aria-label": `Explain why ${event.client} may not use ${event.resource}` }, "explain");
  button.addEventListener("click", () => explained(event).catch(() => live(false)));
  return button;
}

async function explained(event) {
  const asked = new URLSearchParams({ client: event.client, resource: event.resource, address: event.address || "" });
  const answer = await fetch(`${prefix}/explain?${asked}`);
  if (!answer.ok) return;
  const found = await answer.json();
  setText("explain-title", `${found.client} → ${found.resource}`);
  byId("explain-outcome").className = found.allowed ? "good" : "bad";
  setText("explain-outcome", `${found.allowed ? "allowed" : "denied"} by ${found.rule}: ${found.reason}`);
  byId("explain-steps").replaceChildren(...found.steps.map((step) =>
    make("li", { class: step.passed === null ? "" : step.passed ? "good" : "bad" }, step.text)));
  setText("explain-command", found.command);
  setText("explain-copy", "copy the command");
  byId("explain").showModal();
}

function eventRow(event, fresh) {
  const why = [event.rule, event.reason].filter(Boolean).join(" · ") || event.kind;
  return make("tr", { class: fresh ? "new" : null },
    make("td", {}, clock(event.time)),
    make("td", {}, event.client || event.claimed || event.address || "–", event.client && event.address ? make("small", {}, event.address) : null),
    make("td", {}, event.resource || event.method || event.name || event.kind, event.method && event.resource ? make("small", {}, event.method) : null),
    make("td", {}, why, explain(event), event.detail ? make("small", {}, event.detail) : null),
    make("td", {}, event.status === undefined ? "" : String(event.status)));
}

function rows(events, fresh) {
  const none = state.search ? "no recent event matches" : "nothing was refused";
  byId("events").replaceChildren(...(events.length ? events.map((event) => eventRow(event, fresh > (event.seq || 0) ? false : fresh !== Infinity)) : [make("tr", {}, make("td", { colspan: "5", class: "empty" }, none))]));
}

// --- figures -----------------------------------------------------------------------------------------------------

function figures(data) {
  const lately = state.seconds.slice(-11, -1), five = state.seconds.reduce((all, row) => OUTCOMES.map((_, which) => all[which] + row[which]), [0, 0, 0]);
  const rate = lately.length ? lately.reduce((all, row) => all + total(row), 0) / lately.length : 0;
  const requests = total(five), share = requests ? (100 * five[1]) / requests : 0;
  setText("rate", rate >= 100 ? short(Math.round(rate)) : rate.toFixed(1));
  setText("rate-note", `${short(data.totals.requests)} since start`);
  setText("refused", short(five[1]));
  setText("refused-note", `${share.toFixed(share < 10 ? 1 : 0)} % of ${short(requests)}`);
  grade("refused", share > 20 ? "bad" : share > 5 ? "warn" : "");
  const failed = sum(data.reasons, "count"), hits = sum(data.limits, "count");
  setText("auth", short(failed));
  setText("auth-note", data.reasons.length ? `mostly ${data.reasons[0].name}` : "none");
  grade("auth", failed > 50 ? "bad" : failed ? "warn" : "");
  setText("limits", short(hits));
  setText("limits-note", data.limits.length ? `mostly ${data.limits[0].name}` : "none");
  grade("limits", hits > 50 ? "warn" : "");
  setText("p95", milliseconds(data.latency_ms.p95));
  setText("p95-note", `p50 ${milliseconds(data.latency_ms.p50)} · p99 ${milliseconds(data.latency_ms.p99)}`);
  setText("clients-active", short(data.active_clients));
  setText("total-note", `${short(data.totals.failed)} failed since start`);
  const hour = state.minutes.slice(-60);
  spark("rate", grouped(state.seconds.slice(0, -1), 5).map(total));
  spark("refused", hour.map((row) => row[1]));
  spark("auth", hour.map((row) => row[3]));
  spark("limits", hour.map((row) => row[4]));
  setText("uptime", `up ${span(data.now - data.started)}`);
  const log = data.log || {}, healthy = log.available !== false;
  byId("log").className = `pill ${healthy ? "good" : "bad"}`;
  setText("log", healthy ? `log ${short(log.sequence || data.seq)}` : "log cannot be written");
  setText("version", data.version ? `mcpsec ${data.version}` : "mcpsec");
  setText("head", log.head ? `log head ${log.head.slice(0, 16)}…` : "");
}

function show(data, fresh) {
  state.last = data;
  figures(data);
  bars("clients", data.clients, decided, (row) => short(row.allowed + row.refused + row.failed));
  bars("resources", data.resources, decided, (row) => short(row.allowed + row.refused + row.failed));
  bars("reasons", data.reasons, (row) => [["refused", row.count]], (row) => short(row.count));
  bars("hits", data.limits, (row) => [["failed", row.count]], (row) => short(row.count));
  upstreams(data.upstreams);
  certificates(data.certificates, data.now);
  alerts();
  verdict(data);
  if (!state.search && fresh !== null) rows(state.denials, fresh);
  draw();
}

// --- the stream --------------------------------------------------------------------------------------------------

function whole_picture(data) {
  Object.assign(state, { seconds: data.seconds, minutes: data.minutes, second: data.second });
  state.denials = data.denials.toReversed ? data.denials.toReversed() : [...data.denials].reverse();
  state.alerts = [...data.alerts].reverse();
  show(data, Infinity);
}

function advance(rows, size, gone, last) {
  for (let index = 0; index < Math.min(gone, size); index += 1) rows.push([...EMPTY]);
  rows.splice(0, Math.max(0, rows.length - size));
  last.forEach((row, index) => { rows[rows.length - last.length + index] = row; });
}

function tick(data) {
  const before = state.last ? state.last.seq : 0;
  advance(state.seconds, 300, Math.max(0, data.second - state.second), data.last_seconds);
  advance(state.minutes, 1440, Math.max(0, Math.floor(data.second / 60) - Math.floor(state.second / 60)), data.last_minutes);
  state.second = data.second;
  const news = data.denials.length > 0;
  state.denials = [...data.denials].reverse().concat(state.denials).slice(0, ROWS);
  state.alerts = [...data.alerts].reverse().concat(state.alerts).slice(0, 100);
  show(data, news ? before + 1 : null);
}

function live(on) {
  byId("live").className = `pill ${on ? "good" : "bad"}`;
  setText("live", on ? "live" : "reconnecting");
}

function connect() {
  const stream = new EventSource(`${prefix}/events`);
  stream.addEventListener("open", () => live(true));
  stream.addEventListener("snapshot", (message) => { live(true); whole_picture(JSON.parse(message.data)); });
  stream.addEventListener("tick", (message) => tick(JSON.parse(message.data)));
  stream.addEventListener("error", () => {
    live(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
}

// --- what the reader does ----------------------------------------------------------------------------------------

let waiting = 0;

async function search(text) {
  state.search = text.trim();
  setText("denials-title", state.search ? "Recent events" : "Denials");
  if (!state.search) { rows(state.denials, Infinity); return; }
  const asked = state.search;
  const answer = await fetch(`${prefix}/search?q=${encodeURIComponent(asked)}`);
  if (answer.ok && asked === state.search) rows((await answer.json()).events, Infinity);
}

byId("search").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => search(event.target.value).catch(() => live(false)), 200);
});
byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => {
    state.range = button.dataset.range;
    for (const each of document.querySelectorAll("[data-range]")) each.setAttribute("aria-pressed", String(each === button));
    draw();
  });
}
byId("traffic").addEventListener("pointermove", (event) => { state.hover = event.offsetX; draw(); });
byId("traffic").addEventListener("pointerleave", () => { state.hover = null; draw(); });
byId("explain-copy").addEventListener("click", async () => {
  try { await navigator.clipboard.writeText(byId("explain-command").textContent); setText("explain-copy", "copied"); } catch { getSelection().selectAllChildren(byId("explain-command")); }
});
addEventListener("resize", draw);
theme(firstTheme());
connect();
