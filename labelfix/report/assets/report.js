"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = data.classes;
  const byId = (id) => document.getElementById(id);
  const style = { background: "none", color: "inherit", fontSize: "12px", overflow: "visible" };
  const percent = (value) => (100 * value).toFixed((value > 0.99 && value < 1) || (value > 0 && value < 0.01) ? 1 : 0) + " %";
  const short = (name) => (name.length > 14 ? name.slice(0, 13) + "…" : name);

  // --- charts ------------------------------------------------------------------------------
  const draw = (id, options) => {
    const place = byId(id);
    const chart = Plot.plot({ className: "chart-plot", style, ...options });
    place.replaceChildren(chart);
  };
  const width = (id) => Math.max(280, Math.min(560, byId(id).clientWidth || 420));
  const scheme = "YlGnBu";

  const heatmap = (id, cells, value, caption) => {
    if (!cells.length) {
      byId(id).textContent = "Nothing to show.";
      return;
    }
    const used = (position) => [...new Set(cells.map((cell) => cell[position]))].sort((a, b) => a - b);
    const rows = used(0), columns = used(1);
    const side = Math.max(12, Math.min(44, (width(id) - 110) / columns.length));
    draw(id, {
      width: Math.max(width(id), 120 + side * columns.length), height: 90 + side * rows.length,
      marginLeft: 100, marginTop: 70, marginBottom: 10,
      x: { axis: "top", domain: columns, tickFormat: (k) => short(names[k]), tickRotate: -45, label: null },
      y: { domain: rows, tickFormat: (k) => short(names[k]), label: null },
      color: { scheme, type: "sqrt" },
      marks: [
        Plot.cell(cells, {
          y: (cell) => cell[0], x: (cell) => cell[1], fill: (cell) => cell[2], inset: 0.5,
          title: (cell) => caption(names[cell[0]], names[cell[1]], value(cell[2])),
        }),
      ],
    });
  };
  const off = data.transition.filter(([y, x]) => y !== x).sort((a, b) => b[2] - a[2]);
  heatmap("transition", data.transition, percent, (y, x, value) => `${y}, labelled ${x}: ${value}`);
  byId("transition-note").textContent = off.length && off[0][2] > 0
    ? "Most often: " + off.slice(0, 3).filter((cell) => cell[2] > 0)
        .map(([y, x, value]) => `${names[y]} labelled ${names[x]}, ${percent(value)}`).join("; ") + "."
    : "No wrong labels are estimated.";
  heatmap("changes", data.changes.slice(0, 400), String, (from, to, value) => `${from} to ${to}: ${value} rows`);
  byId("changes-note").textContent = data.changes.length
    ? "Row: the given label; column: the new one. Most often: " + data.changes.slice(0, 3)
        .map(([from, to, rows]) => `${names[from]} to ${names[to]}, ${rows}`).join("; ") + "."
    : "No label was changed.";

  if (data.calibration.length) {
    draw("calibration", {
      width: width("calibration"), height: 300, grid: true,
      x: { domain: [0, 1], label: "said", tickFormat: percent }, y: { domain: [0, 1], label: "right", tickFormat: percent }, marginLeft: 50,
      r: { range: [2, 12] },
      marks: [
        Plot.line([[0, 0], [1, 1]], { stroke: "currentColor", strokeOpacity: 0.4, strokeDasharray: "4 4" }),
        Plot.dot(data.calibration, {
          x: (bin) => bin[0], y: (bin) => bin[1], r: (bin) => bin[2], fill: "#0b8a7c", fillOpacity: 0.8,
          title: (bin) => `said ${percent(bin[0])}, right ${percent(bin[1])}, ${bin[2]} rows`,
        }),
      ],
    });
  } else {
    byId("calibration").textContent = "Needs rows that were checked at random.";
  }
  byId("calibration-note").textContent = data.calibration_note;

  const bars = data.weights.map((rows, i) => ({ from: i / data.weights.length, to: (i + 1) / data.weights.length, rows }));
  draw("weights", {
    width: width("weights"), height: 300, marginLeft: 60, x: { label: "weight" }, y: { label: "rows", grid: true },
    marks: [
      Plot.rectY(bars, { x1: "from", x2: "to", y: "rows", inset: 0.5, fill: "#0b8a7c", title: (bar) => `${bar.rows} rows` }),
      Plot.ruleY([0]),
    ],
  });
  const cells = data.reliabilities, step = 1 / data.reliability_bins;
  if (cells.length) {
    draw("reliabilities", {
      width: width("reliabilities"), height: 300, x: { domain: [0, 1], label: "given label" },
      y: { domain: [0, 1], label: "model's label" }, color: { scheme, type: "log" },
      marks: [
        Plot.rect(cells, {
          x1: (cell) => cell[0] * step, x2: (cell) => (cell[0] + 1) * step,
          y1: (cell) => cell[1] * step, y2: (cell) => (cell[1] + 1) * step,
          fill: (cell) => cell[2], title: (cell) => `${cell[2]} rows`,
        }),
      ],
    });
  } else {
    byId("reliabilities").textContent = "Rows were not scored.";
  }

  // --- rows --------------------------------------------------------------------------------
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const picture = (row) => {
    if (row.picture) {
      const image = element("img");
      image.src = row.picture;
      image.alt = `sample ${row.id}`;
      image.loading = "lazy";
      return image;
    }
    if (row.text !== undefined) return element("div", "text", row.text);
    if (row.fields) {
      const list = element("dl");
      for (const [name, value] of row.fields) list.append(element("dt", "", name), element("dd", "", value));
      return list;
    }
    return null;
  };
  const why = (row) => {
    const parts = [`${names[row.label]} ${percent(row.probability)}`];
    if (row.given >= 0 && row.given !== row.label) parts.push(`${names[row.given]} ${percent(row.given_probability)}`);
    if (row.alpha !== null && row.alpha < 0.4) parts.push("learning the given label does not help");
    if (row.clid_rank !== null && row.clid_rank > 0.9) parts.push("its neighbours carry other labels");
    return parts.join("; ");
  };
  const words = { keep: "kept", correct: "changed", review: "kept, likelier wrong than right", fill: "had no label", checked: "checked by a person", none: "fits no class" };
  const card = (row) => {
    const item = element("li", "card");
    const shown = picture(row);
    if (shown) item.append(shown);
    const change = row.given < 0 ? names[row.label]
      : row.given === row.label ? names[row.given] : `${names[row.given]} → ${names[row.label]}`;
    item.append(element("div", "change", change), element("div", "", words[row.decision] || row.decision),
      element("div", "why", why(row)), element("div", "id", row.id));
    return item;
  };
  const chosen = { decision: byId("decision"), pair: byId("pair"), order: byId("order") };
  const option = (select, value, text) => {
    const made = element("option", "", text);
    made.value = value;
    select.append(made);
  };
  const pairOf = (row) => `${row.given}>${row.label}`;
  const count = (key) => data.rows.reduce((found, row) => found.set(key(row), (found.get(key(row)) || 0) + 1), new Map());
  option(chosen.decision, "", `all (${data.rows.length})`);
  for (const [decision, rows] of count((row) => row.decision)) option(chosen.decision, decision, `${words[decision] || decision} (${rows})`);
  option(chosen.pair, "", "all");
  const pairs = [...count(pairOf)].filter(([pair]) => { const [from, to] = pair.split(">"); return from !== to && from !== "-1"; });
  for (const [pair, rows] of pairs.sort((a, b) => b[1] - a[1])) {
    const [from, to] = pair.split(">").map(Number);
    option(chosen.pair, pair, `${names[from]} → ${names[to]} (${rows})`);
  }
  const PAGE = 24;
  let limit = PAGE;
  const show = () => {
    const rows = data.rows
      .filter((row) => (!chosen.decision.value || row.decision === chosen.decision.value) && (!chosen.pair.value || pairOf(row) === chosen.pair.value))
      .sort(chosen.order.value === "rank" ? (a, b) => a.rank - b.rank : (a, b) => b.doubt - a.doubt);
    byId("rows").replaceChildren(...rows.slice(0, limit).map(card));
    byId("count").textContent = `${Math.min(limit, rows.length)} of ${rows.length} rows`;
    byId("more").classList.toggle("hidden", rows.length <= limit);
  };
  for (const select of Object.values(chosen)) select.addEventListener("change", () => { limit = PAGE; show(); });
  byId("more").addEventListener("click", () => { limit += PAGE; show(); });
  show();
  byId("far").replaceChildren(...data.far.map(card));

  // --- map ---------------------------------------------------------------------------------
  const map = data.map;
  if (map) {
    const canvas = byId("map"), context = canvas.getContext("2d");
    const hue = (k) => (k * 137.508) % 360;
    const colour = (k, dark) => `hsl(${hue(k)} 65% ${dark ? 62 : 42}%)`;
    const place = (i) => [30 + map.x[i] * (canvas.width - 60), 30 + map.y[i] * (canvas.height - 60)];
    const paint = () => {
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      context.clearRect(0, 0, canvas.width, canvas.height);
      map.label.forEach((label, i) => {
        const [x, y] = place(i);
        context.beginPath();
        context.arc(x, y, 4, 0, 2 * Math.PI);
        context.fillStyle = colour(label, dark);
        context.globalAlpha = 0.75;
        context.fill();
        context.globalAlpha = 1;
        if (map.suspicious[i]) {
          context.beginPath();
          context.arc(x, y, 8, 0, 2 * Math.PI);
          context.lineWidth = 2.5;
          context.strokeStyle = dark ? "#ff8a7a" : "#b42318";
          context.stroke();
        }
      });
      const legend = byId("legend");
      legend.replaceChildren(...names.slice(0, 24).map((name, k) => {
        const item = element("li");
        const dot = element("span");
        dot.style.background = colour(k, dark);
        item.append(dot, document.createTextNode(name));
        return item;
      }));
    };
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * canvas.width;
      const y = ((event.clientY - box.top) / box.height) * canvas.height;
      let best = -1, least = 400;
      map.label.forEach((_, i) => {
        const [px, py] = place(i), far = (px - x) ** 2 + (py - y) ** 2;
        if (far < least) { least = far; best = i; }
      });
      byId("map-row").textContent = best < 0 ? "" : `${map.id[best]}: ${names[map.label[best]]}`;
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    paint();
  }
})();
