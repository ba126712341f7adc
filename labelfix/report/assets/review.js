"use strict";
(() => {
  const plan = JSON.parse(document.getElementById("data").textContent);
  const names = plan.classes, rows = plan.rows;
  const byId = (id) => document.getElementById(id);
  const RESERVED = "unszc", KEYS = "1234567890" + "abcdefghijklmnopqrstuvwxyz".split("").filter((key) => !RESERVED.includes(key)).join("");
  const keyed = names.length <= KEYS.length;
  const STORE = `labelfix-review-${plan.plan}-${plan.reviewer}`;
  const NAG = 50;

  // --- decisions: position -> {label, decision, seconds, at}; a list of steps for undo ---------
  let decided = new Map(), steps = [], at = 0, since = performance.now(), unsaved = 0;
  const save = () => {
    try {
      localStorage.setItem(STORE, JSON.stringify({ decided: [...decided], steps, at }));
    } catch {
      note("This browser stores nothing more: download the decisions now.");
    }
  };
  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(STORE) || "null");
      if (!kept) return;
      decided = new Map(kept.decided.filter(([position]) => position >= 0 && position < rows.length));
      steps = kept.steps.filter((positions) => positions.every((position) => decided.has(position)));
      at = Math.min(kept.at, rows.length - 1);
    } catch {
      note("What this browser had stored could not be read; start anew or drop a downloaded file here.");
    }
  };
  const note = (text) => { byId("note").textContent = text; };

  const record = (position, label, decision) => {
    const seconds = Math.round((performance.now() - since) / 100) / 10;
    decided.set(position, { label, decision, seconds, at: new Date().toISOString().slice(0, 19) + "Z" });
    unsaved += 1;
  };
  const decide = (label, decision) => {
    if (!rows.length) return;
    record(at, label, decision);
    steps.push([at]);
    if (unsaved && unsaved % NAG === 0) note(`${unsaved} decisions are in this browser alone: download them.`);
    else note("");
    move(nextOpen(at));
  };
  const nextOpen = (from) => {
    for (let step = 1; step <= rows.length; step += 1) {
      const position = (from + step) % rows.length;
      if (!decided.has(position)) return position;
    }
    return from;
  };
  const undo = () => {
    const last = steps.pop();
    if (!last) return note("Nothing to take back.");
    for (const position of last) decided.delete(position);
    note("Taken back.");
    move(last[0]);
  };
  const move = (position) => {
    at = Math.max(0, Math.min(rows.length - 1, position));
    since = performance.now();
    save();
    paint();
  };

  // --- what a person sees ------------------------------------------------------------------
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shown = (row) => {
    const parts = [];
    if (row.picture) {
      const image = element("img");
      image.src = row.picture;
      image.alt = `sample ${row.id}`;
      parts.push(image);
    }
    if (row.text !== undefined) parts.push(element("div", "text", row.text));
    if (row.fields) {
      const list = element("dl");
      for (const [name, value] of row.fields) list.append(element("dt", "", name), element("dd", "", value));
      parts.push(list);
    }
    parts.push(element("div", "id", row.id));
    return parts;
  };
  const paint = () => {
    const done = decided.size === rows.length && rows.length > 0;
    byId("progress").textContent = `${decided.size} of ${rows.length} decided, row ${Math.min(at + 1, rows.length)}`;
    byId("meter").value = rows.length ? decided.size / rows.length : 0;
    byId("end").classList.toggle("hidden", !done);
    if (!rows.length) return;
    const row = rows[at], mine = decided.get(at);
    byId("stage").replaceChildren(...shown(row));
    byId("candidates").textContent = row.candidates ? `Perhaps ${row.candidates.map((k) => names[k]).join(" or ")}.` : "";
    for (const button of byId("classes").children) {
      button.setAttribute("aria-pressed", String(Boolean(mine) && mine.decision === "label" && mine.label === button.dataset.name));
    }
    for (const kind of ["unsure", "none", "skip"]) {
      byId(kind).setAttribute("aria-pressed", String(Boolean(mine) && mine.decision === kind));
    }
    const ahead = rows[nextOpen(at)];
    if (ahead && ahead.picture) new Image().src = ahead.picture;
  };

  const classButton = (name, key) => {
    const button = element("button");
    button.type = "button";
    button.dataset.name = name;
    if (key) button.append(element("kbd", "", key), document.createTextNode(` ${name}`));
    else button.textContent = name;
    button.addEventListener("click", () => decide(name, "label"));
    return button;
  };
  const listClasses = (text) => {
    const wanted = text.trim().toLowerCase();
    const found = names.filter((name) => name.toLowerCase().includes(wanted))
      .sort((a, b) => Number(b.toLowerCase().startsWith(wanted)) - Number(a.toLowerCase().startsWith(wanted)));
    byId("classes").replaceChildren(...found.slice(0, 40).map((name) => classButton(name, "")));
    return found;
  };
  if (keyed) byId("classes").replaceChildren(...names.map((name, k) => classButton(name, KEYS[k])));
  else {
    byId("filter-part").classList.remove("hidden");
    listClasses("");
    byId("filter").addEventListener("input", () => listClasses(byId("filter").value));
    byId("filter").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.repeat) {
        const found = listClasses(byId("filter").value);
        if (found.length && byId("filter").value.trim()) {
          byId("filter").value = "";
          listClasses("");
          decide(found[0], "label");
        }
      } else if (event.key === "Escape") byId("filter").blur();
    });
  }

  // --- contact sheet: many rows of one pair of candidates -----------------------------------
  const SHEET = 40;
  let sheet = null;
  const pairOf = (row) => (row.candidates ? row.candidates.join(">") : "");
  const openSheet = () => {
    const open = rows.map((row, position) => [pairOf(row), position]).filter(([pair, position]) => pair && !decided.has(position));
    const count = open.reduce((found, [pair]) => found.set(pair, (found.get(pair) || 0) + 1), new Map());
    const best = [...count].sort((a, b) => b[1] - a[1])[0];
    if (!best) return note("No rows with candidates are left for a contact sheet.");
    const positions = open.filter(([pair]) => pair === best[0]).slice(0, SHEET).map(([, position]) => position);
    const label = rows[positions[0]].guess;
    sheet = { positions, label, odd: new Set() };
    byId("sheet-words").textContent = `Most of these should be ${names[label]}. Click the ones that are not.`;
    byId("sheet-done").textContent = `The others are ${names[label]}`;
    byId("cells").replaceChildren(...positions.map((position) => {
      const item = element("li"), button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.append(...shown(rows[position]));
      button.addEventListener("click", () => {
        const odd = !sheet.odd.has(position);
        if (odd) sheet.odd.add(position); else sheet.odd.delete(position);
        button.setAttribute("aria-pressed", String(odd));
      });
      item.append(button);
      return item;
    }));
    byId("single").classList.add("hidden");
    byId("sheet").classList.remove("hidden");
  };
  const closeSheet = () => {
    sheet = null;
    byId("sheet").classList.add("hidden");
    byId("single").classList.remove("hidden");
    move(decided.has(at) ? nextOpen(at) : at);
  };
  byId("sheet-open").addEventListener("click", openSheet);
  byId("sheet-close").addEventListener("click", closeSheet);
  byId("sheet-done").addEventListener("click", () => {
    const meant = sheet.positions.filter((position) => !sheet.odd.has(position));
    for (const position of meant) record(position, names[sheet.label], "label");
    if (meant.length) steps.push(meant);
    note(`${meant.length} rows decided; ${sheet.odd.size} are left to decide one by one.`);
    closeSheet();
  });

  // --- the file: out, and in again ---------------------------------------------------------
  const COLUMNS = ["id", "label", "decision", "reviewer", "plan", "position", "seconds", "decided_at"];
  const quote = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const csv = () => {
    const lines = [...decided].sort((a, b) => a[0] - b[0]).map(([position, made]) => [
      rows[position].id, made.decision === "label" ? made.label : "", made.decision, plan.reviewer,
      plan.plan, rows[position].position, made.seconds, made.at,
    ]);
    return [COLUMNS, ...lines].map((line) => line.map(quote).join(",")).join("\r\n") + "\r\n";
  };
  byId("download").addEventListener("click", () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `decisions-${plan.plan}${plan.reviewer ? `-${plan.reviewer}` : ""}.csv`;
    document.body.append(link);
    link.click();
    link.remove();
    unsaved = 0;
    note(`${decided.size} decisions downloaded.`);
  });
  const parse = (text) => {
    const lines = [[]];
    let cell = "", quoted = false;
    for (let i = 0; i < text.length; i += 1) {
      const sign = text[i];
      if (quoted) {
        if (sign === '"' && text[i + 1] === '"') { cell += '"'; i += 1; } else if (sign === '"') quoted = false; else cell += sign;
      } else if (sign === '"') quoted = true;
      else if (sign === ",") { lines.at(-1).push(cell); cell = ""; }
      else if (sign === "\n") { lines.at(-1).push(cell.replace(/\r$/, "")); cell = ""; lines.push([]); }
      else cell += sign;
    }
    if (cell) lines.at(-1).push(cell);
    return lines.filter((line) => line.length > 1);
  };
  const take = (text) => {
    const [header, ...lines] = parse(text.replace(/^\ufeff/, ""));
    const column = Object.fromEntries((header || []).map((name, i) => [name.trim().toLowerCase(), i]));
    if (!COLUMNS.every((name) => name in column)) return note("That is not a decisions file of this page.");
    const place = new Map(rows.map((row, i) => [String(row.position), i]));
    let taken = 0;
    for (const line of lines) {
      const i = place.get(line[column.position]);
      if (line[column.plan] !== plan.plan || i === undefined) continue;
      const label = line[column.label], decision = line[column.decision];
      if (!(decision === "label" ? names.includes(label) : ["unsure", "none", "skip"].includes(decision))) continue;
      decided.set(i, { label: decision === "label" ? label : "", decision, seconds: Number(line[column.seconds]) || 0, at: line[column.decided_at] });
      taken += 1;
    }
    note(taken ? `${taken} decisions taken from the file.` : "The file holds no decision of this plan.");
    move(decided.has(at) ? nextOpen(at) : at);
  };
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) file.text().then(take);
  });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

  // --- keys ----------------------------------------------------------------------------------
  const others = { u: () => decide("", "unsure"), n: () => decide("", "none"), s: () => decide("", "skip"), z: undo, c: openSheet,
    ArrowLeft: () => move(at - 1), ArrowRight: () => move(at + 1), "?": () => byId("help").showModal() };
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing || byId("help").open) return;
    if (sheet) { if (event.key === "Escape") closeSheet(); return; }
    const k = keyed ? KEYS.indexOf(event.key) : -1;
    if (k >= 0 && k < names.length && event.key.length === 1) decide(names[k], "label");
    else if (others[event.key]) others[event.key]();
    else if (!keyed && event.key === "/") byId("filter").focus();
    else return;
    event.preventDefault();
  });
  for (const [id, key] of Object.entries({ unsure: "u", none: "n", skip: "s", undo: "z", previous: "ArrowLeft", next: "ArrowRight" })) {
    byId(id).addEventListener("click", () => others[key]());
  }
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("help-close").addEventListener("click", () => byId("help").close());

  load();
  if (decided.size) note(`Resumed: ${decided.size} decisions were in this browser.`);
  if (decided.has(at)) at = nextOpen(at);
  since = performance.now();
  paint();
})();
