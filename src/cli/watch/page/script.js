// Shows what the server tells. Every text of the record goes through `put`, which makes text nodes and nothing else.
"use strict";

(() => {
  const SHOWN = 300;    // rows that are drawn; more on request
  const KEPT = 5000;    // acts that are kept, as on the server
  const SESSIONS = 1000;
  const AGES = 5000;    // milliseconds between two drawings, while something waits
  const ANSWERS = document.body.dataset.answers === "here";
  const TURN = 150;     // milliseconds between two drawings, while records come

  // Characters that move a cursor, turn text around or cannot be seen.
  const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

  const acts = new Map();
  const sessions = new Map();
  const waiting = new Map(); // what waits for a person, by the decision's id
  const boxes = new Map();
  let notices = [];
  let totals = { records: 0, allowed: 0, asked: 0, denied: 0, refused: 0, redactions: 0, alarms: 0 };
  let servers = 0;

  const chosen = { verdict: null, session: null, search: "", act: null, rows: SHOWN, held: null };
  const at = (id) => document.getElementById(id);

  // --- text ---

  /** An element with texts and elements in it. */
  function make(tag, className, ...parts) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    put(element, ...parts);
    return element;
  }

  /** Adds texts as text, with what is hostile in them as visible escapes. */
  function put(element, ...parts) {
    for (const part of parts) {
      if (part instanceof Node) { element.append(part); continue; }
      const text = String(part ?? "");
      let from = 0;
      for (const found of text.matchAll(HOSTILE)) {
        if (found[0] === "\n" && element.tagName === "PRE") continue;
        element.append(document.createTextNode(text.slice(from, found.index)));
        const escape = document.createElement("span");
        escape.className = "escape";
        const code = found[0].codePointAt(0).toString(16);
        escape.append(document.createTextNode(found[0] === "\n" ? "⏎" : `\\u{${code}}`));
        element.append(escape);
        from = found.index + found[0].length;
      }
      element.append(document.createTextNode(text.slice(from)));
    }
    return element;
  }

  const two = (number) => String(number).padStart(2, "0");

  function clock(time) {
    const date = new Date(time), now = new Date();
    const day = date.toDateString() === now.toDateString() ? "" : `${two(date.getMonth() + 1)}-${two(date.getDate())} `;
    return `${day}${two(date.getHours())}:${two(date.getMinutes())}${day ? "" : ":" + two(date.getSeconds())}`;
  }

  function duration(micros) {
    if (micros < 1e3) return `${micros} µs`;
    if (micros < 1e6) return `${Math.floor(micros / 1e3)} ms`;
    if (micros < 6e7) return `${(Math.floor(micros / 1e5) / 10).toFixed(1)} s`;
    return `${Math.floor(micros / 6e7)} min ${Math.floor(micros / 1e6) % 60} s`;
  }

  /** In the largest unit of which there are two. */
  function age(milliseconds) {
    const seconds = Math.max(0, Math.floor(milliseconds / 1000));
    if (seconds < 120) return `${seconds} s`;
    return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
  }

  function amount(bytes) {
    if (bytes < 1024) return `${bytes} B`;
    return bytes < 1048576 ? `${Math.floor(bytes / 1024)} KiB` : `${Math.floor(bytes / 1048576)} MiB`;
  }

  // --- what is shown ---

  const wasRefused = (act) => Boolean(act.refusals || act.refused_more);
  const strictest = (act) => (wasRefused(act) ? "deny" : act.verdict);

  function fits(act) {
    if (chosen.session && act.session !== chosen.session) return false;
    if (chosen.verdict === "ask" && act.verdict !== "ask") return false;
    if (chosen.verdict === "waiting" && !waiting.has(act.request)) return false;
    if (chosen.verdict === "refused" && !wasRefused(act) && act.kind !== "refusal") return false;
    if ((chosen.verdict === "allow" || chosen.verdict === "deny") && strictest(act) !== chosen.verdict) return false;
    if (!chosen.search) return true;
    act.haystack ??= [act.text, act.agent, act.user, act.cwd, act.words, act.request, act.session, ...(act.policies ?? []),
      ...(act.reasons ?? []).flatMap((reason) => [reason.policy, reason.reason]),
      ...(act.refusals ?? []).flatMap((refused) => [refused.what, refused.policy])].join("\n").toLowerCase();
    return act.haystack.includes(chosen.search);
  }

  /** Newest first. While the list is held, nothing that came later. */
  function found() {
    const fitting = [];
    for (const act of acts.values()) {
      if (chosen.held !== null && act.id > chosen.held) break;
      if (fits(act)) fitting.push(act);
    }
    return fitting.reverse();
  }

  function ending(act) {
    if (act.outcome) return [`${act.outcome.text} · ${duration(act.outcome.micros)}`, act.outcome.fine ? "" : "ask"];
    const answer = act.answers?.at(-1);
    if (answer) return [`${answer.granted ? (act.used ? "granted, used," : "granted") : "refused"} by ${answer.by}`, answer.granted ? "allow" : "deny"];
    if (act.verdict === "ask") return waiting.has(act.request) ? [`waits ${age(Date.now() - waiting.get(act.request).since)}`, "ask"] : ["no yes given", ""];
    if (act.verdict === "deny") return [act.reasons?.[0]?.policy || act.policies?.[0] || "no permit", ""];
    if (act.kind !== "command") return ["", ""];
    return sessions.get(act.session)?.ended ? ["no end on record", "ask"] : ["running", "allow"];
  }

  // --- drawing ---

  let due = 0;
  function draw() {
    if (due) return;
    due = setTimeout(() => { due = 0; drawAll(); }, TURN);
  }
  function drawNow() { clearTimeout(due); due = 0; drawAll(); }
  function drawAll() { drawTotals(); drawNotices(); drawWaiting(); drawSessions(); drawList(); drawDetail(); }

  function drawTotals() {
    const button = (name, count, word) => {
      const element = make("button", "", make("b", count ? name : "", count), word);
      element.type = "button";
      element.setAttribute("aria-pressed", String(chosen.verdict === (name === "refusal" ? "refused" : name)));
      element.onclick = () => pick(name === "refusal" ? "refused" : name);
      return element;
    };
    at("totals").replaceChildren(
      button("allow", totals.allowed, "allowed"), button("ask", totals.asked, "asked"), button("deny", totals.denied, "denied"),
      button("refusal", totals.refused, "refused at execve"), button("waiting", waiting.size, "waiting"),
      make("span", "", make("b", "", totals.redactions), "redacted"), make("span", "", make("b", "", totals.records), "records"),
      make("span", "", make("b", "", servers), servers === 1 ? "server" : "servers"));
  }

  function drawNotices() {
    const shown = notices.slice(-3).map((notice) => make("div", notice.alarm ? "alarm" : "", notice.text));
    at("alarms").replaceChildren(...shown);
  }

  /** A box for each request. One that is there stays as it is, with what somebody is about to type. */
  function drawWaiting() {
    at("waiting").hidden = waiting.size === 0;
    for (const [id, box] of boxes) {
      if (waiting.has(id)) continue;
      box.remove();
      boxes.delete(id);
    }
    for (const request of waiting.values()) {
      if (!boxes.has(request.id)) {
        boxes.set(request.id, asked(request));
        at("waiting").append(boxes.get(request.id));
      }
      const by = request.granted_by.length ? ` (${request.granted_by.join(", ")})` : "";
      const yes = request.quorum > 1 ? `, ${request.granted_by.length} of ${request.quorum} have said yes${by}` : "";
      const time = boxes.get(request.id).querySelector("time");
      time.replaceChildren();
      put(time, `waits ${age(Date.now() - request.since)}, ${age(request.until - Date.now())} left${yes}`);
    }
  }

  function asked(request) {
    const box = make("details", "", make("summary", "", make("time"), make("span", "agent", request.agent), make("span", "text", request.command)),
      make("pre", "", request.text));
    if (!ANSWERS) return put(box, make("div", "", `Answer in a terminal: palisade approvals grant ${request.id}`));
    const field = (type, label) => {
      const input = make("input");
      input.type = type;
      input.autocomplete = "off";
      input.placeholder = label;
      input.setAttribute("aria-label", label);
      return input;
    };
    const code = field("password", "The code that palisade printed"), word = field("text", "yes or no");
    const send = make("button", "", "Answer"), said = make("span", "said");
    send.type = "button";
    said.setAttribute("role", "status");
    send.onclick = async () => {
      send.disabled = true;
      said.replaceChildren();
      try {
        const body = JSON.stringify({ id: request.id, word: word.value, code: code.value });
        const headers = { authorization: `Bearer ${sessionStorage.getItem("token")}`, "content-type": "application/json" };
        const answer = await fetch("/answer", { method: "POST", headers, body, cache: "no-store", credentials: "omit" });
        put(said, await answer.text());
      } catch {
        put(said, "The answer did not arrive.");
      }
      send.disabled = false;
      word.value = "";
    };
    word.onkeydown = (event) => { if (event.key === "Enter") send.click(); };
    return put(box, make("div", "answer", code, word, send, said));
  }

  function drawSessions() {
    const all = [...sessions.values()].sort((one, other) => (one.last < other.last ? 1 : -1));
    const parts = [entry(null)];
    const live = all.filter((session) => session.ended === null), over = all.filter((session) => session.ended !== null);
    if (live.length) parts.push(make("h2", "", `Live (${live.length})`), ...live.slice(0, 200).map(entry));
    if (over.length) parts.push(make("h2", "", `Ended (${over.length})`), ...over.slice(0, 200).map(entry));
    const place = at("sessions").scrollTop;
    at("sessions").replaceChildren(...parts);
    at("sessions").scrollTop = place;
  }

  function entry(session) {
    const button = make("button");
    button.type = "button";
    const key = session?.key ?? null;
    button.setAttribute("aria-pressed", String(chosen.session === key));
    button.onclick = () => { chosen.session = key; chosen.rows = SHOWN; drawNow(); };
    if (!session) return put(button, make("span", "top", make("b", "", "All sessions")));
    const dot = make("span", `dot ${session.ended !== null ? "over" : session.running ? "busy" : ""}`);
    const count = (number, name) => make("span", number ? name : "zero", number);
    return put(button,
      make("span", "top", dot, make("b", "", session.agent || "unknown"), make("time", "", clock(session.last))),
      make("span", "low", make("span", "name", session.name || "single commands"),
        count(session.allowed, "allow"), count(session.asked, "ask"), count(session.denied, "deny")));
  }

  function drawList() {
    const list = at("list"), all = found(), place = list.scrollTop;
    const session = sessions.get(chosen.session);
    const of = session
      ? [`${session.agent} for ${session.user}`, session.transport, `level ${session.level}`, session.cwd, `since ${clock(session.since)}`,
        session.ended === null ? `${session.running} running` : `ended: ${session.ended}`].join(" · ") + " · " : "";
    const held = chosen.held === null ? "" : ` · held, ${[...acts.keys()].filter((id) => id > chosen.held).length} newer`;
    at("about").replaceChildren();
    put(at("about"), `${of}${all.length} shown${held}`);
    const rows = all.slice(0, chosen.rows).map(row);
    if (!rows.length) rows.push(make("div", "empty", acts.size ? "Nothing here fits the filter." : "Nothing is on record yet."));
    if (all.length > chosen.rows) {
      const more = make("button", "more", `Show ${Math.min(SHOWN, all.length - chosen.rows)} older`);
      more.type = "button";
      more.onclick = () => { chosen.rows += SHOWN; drawNow(); };
      rows.push(more);
    }
    list.replaceChildren(...rows);
    list.scrollTop = place;
    at("pause").setAttribute("aria-pressed", String(chosen.held !== null));
    at("pause").textContent = chosen.held === null ? "Pause" : "Go on";
  }

  function row(act) {
    const strict = strictest(act), [end, tone] = ending(act);
    const word = act.verdict ?? "";
    const kind = act.kind === "command" ? "" : make("span", "kind", `${act.kind}  `);
    const element = make("div", `act${chosen.act === act.id ? " chosen" : ""}`,
      make("time", "", clock(act.at)), make("span", `verdict ${strict ?? ""}`, word), make("span", "agent", act.agent),
      make("span", "text", kind, act.text.length > 400 ? act.text.slice(0, 400) + "…" : act.text), make("span", `end ${tone}`, end));
    element.setAttribute("role", "option");
    element.setAttribute("aria-selected", String(chosen.act === act.id));
    element.onclick = () => { chosen.act = chosen.act === act.id ? null : act.id; drawNow(); };
    return element;
  }

  let detailed = "";
  function drawDetail() {
    const panel = at("detail"), act = acts.get(chosen.act);
    panel.hidden = !act;
    document.querySelector("main").classList.toggle("detailed", Boolean(act));
    const now = act ? JSON.stringify([act, sessions.get(act.session)?.ended]) : "";
    if (now === detailed) return; // what somebody is about to select stays
    const same = detailed && act && detailed.startsWith(`[{"id":${act.id},`);
    const place = same ? panel.scrollTop : 0;
    detailed = now;
    panel.replaceChildren();
    if (!act) return;
    const close = make("button", "", "Close");
    close.type = "button";
    close.onclick = () => { chosen.act = null; drawNow(); };
    const [end, tone] = ending(act);
    put(panel, make("div", "bar", make("b", strictest(act) ?? "", act.verdict ?? act.kind), make("span", tone, end), close), make("pre", "", act.text));
    const title = (text) => put(panel, make("h2", "", text));
    if (act.words) put(panel, make("h2", "", "Reason given"), make("div", "words", act.words));
    if (act.verdict === "ask" && !act.answers) {
      put(panel, make("h2", "", "Approval"), make("div", "", "Nobody has answered on record."));
    }
    if (act.reasons || act.errors) title("Why");
    for (const reason of act.reasons ?? []) {
      const box = make("div", `reason ${act.verdict === "ask" ? "ask" : ""}`,
        make("div", "", make("span", "policy", reason.policy || "no permit"), make("span", "place", reason.place)),
        make("div", "", reason.reason), make("div", "on", reason.text));
      if (reason.suggest) put(box, make("div", "", `Instead: ${reason.suggest}`));
      put(panel, box);
    }
    for (const error of act.errors ?? []) put(panel, make("div", "reason", error));
    if (wasRefused(act)) {
      title("Refused while it ran");
      for (const refused of act.refusals ?? []) {
        put(panel, make("div", "reason", make("div", "on", refused.what), make("span", "policy", refused.policy || "no permit")));
      }
      if (act.refused_more) put(panel, make("div", "", `and ${act.refused_more} more`));
    }
    if (act.answers) {
      title("Answers");
      for (const answer of act.answers) put(panel, make("div", answer.granted ? "allow" : "deny", `${answer.granted ? "granted" : "refused"} by ${answer.by}`));
    }
    if (act.outcome) {
      title("Outcome");
      const taken = act.outcome.redactions ? `, ${act.outcome.redactions} secrets taken out` : "";
      put(panel, make("div", "", `${act.outcome.text} after ${duration(act.outcome.micros)}, stdout ${amount(act.outcome.out)}, stderr ${amount(act.outcome.err)}${taken}`));
    }
    title("On record");
    const facts = make("dl");
    const session = sessions.get(act.session);
    for (const [name, value] of [["when", act.at], ["agent", act.agent], ["user", act.user], ["session", session?.name || "a single command"],
      ["directory", act.cwd], ["effects", act.effects?.join(", ")], ["policies", act.policies?.join(", ")], ["programs", act.programs?.join(", ")], ["opaque", act.opaque?.join(", ")],
      ["decision", act.request], ["record", `${act.seq} of ${act.chain}`]]) {
      if (value) put(facts, make("dt", "", name), make("dd", "", value));
    }
    put(panel, facts);
    panel.scrollTop = place;
  }

  // --- what the person does ---

  function pick(verdict) {
    chosen.verdict = chosen.verdict === verdict ? null : verdict;
    chosen.rows = SHOWN;
    drawNow();
  }

  function hold() {
    chosen.held = chosen.held === null ? Math.max(-1, ...acts.keys()) : null;
    drawNow();
  }

  function move(by) {
    const all = found(), place = all.findIndex((act) => act.id === chosen.act);
    const next = all[place < 0 ? 0 : Math.min(all.length - 1, Math.max(0, place + by))];
    if (!next) return;
    chosen.act = next.id;
    drawNow();
    at("list").querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
  }

  function save() {
    const lines = found().reverse().map((act) => JSON.stringify({ ...act, haystack: undefined }) + "\n");
    const place = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
    const link = document.createElement("a");
    link.href = place;
    link.download = `palisade-${new Date().toISOString().replaceAll(":", "").slice(0, 17)}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(place), 10000);
  }

  at("pause").onclick = hold;
  at("export").onclick = save;
  at("search").oninput = (event) => { chosen.search = event.target.value.toLowerCase(); chosen.rows = SHOWN; drawNow(); };
  document.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("#waiting")) return;
    if (event.target === at("search")) {
      if (event.key === "Escape" || event.key === "Enter") at("list").focus();
      return;
    }
    const keys = { a: () => pick("allow"), d: () => pick("deny"), w: () => pick("ask"), p: hold, e: save, j: () => move(1), k: () => move(-1),
      ArrowDown: () => move(1), ArrowUp: () => move(-1), "/": () => at("search").focus(),
      Escape: () => { chosen.act = null; drawNow(); } };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  };

  // --- what the server tells ---

  function take(event, told) {
    if (event === "all") { acts.clear(); sessions.clear(); notices = []; chosen.held = null; }
    for (const act of told.acts) acts.set(act.id, act);
    for (const session of told.sessions) sessions.set(session.key, session);
    for (const id of acts.keys()) {
      if (id >= told.first && acts.size <= KEPT) break;
      acts.delete(id);
    }
    if (sessions.size > 2 * SESSIONS) {
      const old = [...sessions.values()].sort((one, other) => (one.last < other.last ? 1 : -1)).slice(SESSIONS);
      for (const session of old) sessions.delete(session.key);
    }
    // What came while this page was being told of all there is comes twice.
    notices = [...notices, ...told.notices.filter((notice) => !notices.some((known) => known.id === notice.id))].slice(-100);
    if (told.missed) notices.push({ text: `This page was too slow and missed ${told.missed} records; it shows all there is again.`, alarm: false });
    if (told.waiting) {
      waiting.clear();
      for (const request of told.waiting) waiting.set(request.id, request);
    }
    ({ totals, servers } = told);
    draw();
  }

  function state(text, className) {
    at("state").className = `state ${className}`;
    at("state").textContent = text;
  }

  async function listen(token) {
    const answer = await fetch("/live", { headers: { authorization: `Bearer ${token}` }, cache: "no-store", credentials: "omit" });
    if (answer.status === 401) return "The token is not valid. Open the address that palisade printed.";
    if (!answer.ok) throw new Error(String(answer.status));
    state("live", "live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", looked = 0;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("ended");
      rest += value;
      for (let end; (end = rest.indexOf("\n\n", looked)) >= 0; looked = 0) {
        const block = rest.slice(0, end);
        rest = rest.slice(end + 2);
        const field = (name) => block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        if (field("data")) take(field("event"), JSON.parse(field("data")));
      }
      looked = Math.max(0, rest.length - 1);
    }
  }

  async function follow() {
    // The token leaves the address, so that it is in no history, and stays with this tab alone.
    if (location.hash.length > 1) sessionStorage.setItem("token", location.hash.slice(1));
    history.replaceState(null, "", "/");
    const token = sessionStorage.getItem("token");
    if (!token) return state("Open the address that palisade printed: it ends in the token.", "lost");
    for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
      try {
        const refused = await listen(token);
        if (refused) return state(refused, "lost");
      } catch {
        state("connection lost, trying again", "lost");
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  drawNow();
  setInterval(() => { if (waiting.size) draw(); }, AGES);
  follow();
})();
