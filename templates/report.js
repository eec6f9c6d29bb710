"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const significant = (v) => {
    if (v === null || v === undefined) return "—";
    const size = Math.abs(v);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? v.toExponential(3) : v.toPrecision(4);
  };
  const rate = (v) => (v === null || v === undefined ? "—" : v.toExponential(2));
  const tick = (v) => {
    if (v === null) return "";
    const size = Math.abs(v);
    return size !== 0 && (size < 1e-2 || size >= 1e5) ? String(v.toExponential(1)).replace(".0e", "e").replace("e+", "e") : String(+v.toPrecision(6));
  };
  const incrs = Array.from({ length: 10 }, (_, e) => [1, 2, 5].map((f) => f * 10 ** e)).flat();
  const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 4], [5, 2]];
  const seedColors = ["--learned", "--control", "--default", "--paper-kind", "--tuned"];

  /** Colour, width and dashes of curve number `nth` of its kind. */
  const look = (kind, nth, of) => {
    if (kind === "run") return { color: variable("--learned"), width: 1.2, dash: [], alpha: of > 8 ? 0.4 : 0.7 };
    if (kind === "seed") return { color: variable(seedColors[nth % seedColors.length]), width: 1.8, dash: [], alpha: 1 };
    const name = kind === "paper" ? "--paper-kind" : "--" + kind;
    const color = variable(name) || variable("--tuned");
    return { color, width: kind === "learned" ? 3 : 1.5, dash: dashes[nth % dashes.length], alpha: 1 };
  };
  const faded = (color, alpha) => `color-mix(in srgb, ${color} ${Math.round(alpha * 100)}%, transparent)`;

  /** Histories share one vertical range, so that policies can be compared by eye. */
  const rates = charts.flatMap((c) => c.series.filter((s) => s.kind === "run").flatMap((s) => s.mid)).filter((v) => v > 0);
  const common = rates.reduce(([lo, hi], v) => [Math.min(lo, v), Math.max(hi, v)], [Infinity, 0]);

  const build = (figure) => {
    const chart = charts[+figure.dataset.chart];
    const plot = figure.querySelector(".plot");
    const legend = figure.querySelector(".legend");
    const reset = figure.querySelector(".reset");
    const logBox = figure.querySelector(".log");
    const shown = chart.series.map((s) => s.shown);
    const single = chart.series.every((s) => s.kind === "run");
    const number = chart.lr ? rate : significant;
    let u = null;

    const looks = () => {
      const seen = {};
      return chart.series.map((s) => look(s.kind, (seen[s.kind] = (seen[s.kind] ?? -1) + 1), chart.series.length));
    };

    /** Series of uPlot for each curve: [x, then mid (, lo, hi)]. Returns where each mid stands. */
    const assemble = (log, styles) => {
      const positive = (values) => (log ? values.map((v) => (v !== null && v > 0 ? v : null)) : values);
      const data = [chart.x];
      const series = [{}];
      const bands = [];
      const middle = [];
      // The learned method comes first in every list; drawn last, it lies on top.
      for (let i = chart.series.length - 1; i >= 0; i--) {
        const s = chart.series[i];
        const { color, width, dash, alpha } = styles[i];
        middle[i] = data.length;
        data.push(positive(s.mid));
        series.push({ stroke: faded(color, alpha), width, dash, spanGaps: s.kind === "seed", show: shown[i], points: { show: chart.x.length === 1 } });
        if (s.lo.length) {
          const at = data.length;
          data.push(positive(s.lo), positive(s.hi));
          const edge = { stroke: "transparent", width: 0, show: shown[i], points: { show: false } };
          series.push(edge, { ...edge });
          bands.push({ series: [at + 1, at], fill: faded(color, s.kind === "learned" ? 0.18 : 0.09) });
        }
      }
      return { data, series, bands, middle };
    };

    /** Names at the right ends of the curves, pushed apart where they would overlap. */
    const endLabels = (middle, styles) => (u) => {
      if (single || u.width < 560) return;
      const ratio = devicePixelRatio;
      const labels = [];
      chart.series.forEach((s, i) => {
        if (!shown[i]) return;
        const values = u.data[middle[i]];
        for (let j = values.length - 1; j >= 0; j--) {
          if (values[j] === null || chart.x[j] > u.scales.x.max) continue;
          const y = u.valToPos(values[j], "y", true);
          // Zoomed out of sight: no label.
          if (y >= u.bbox.top && y <= u.bbox.top + u.bbox.height) labels.push({ text: s.name, y, color: styles[i].color, bold: s.kind === "learned" });
          break;
        }
      });
      const step = 15 * ratio;
      labels.sort((a, b) => a.y - b.y);
      labels.forEach((l, i) => { if (i) l.y = Math.max(l.y, labels[i - 1].y + step); });
      let floor = u.bbox.top + u.bbox.height;
      for (const l of labels.toReversed()) { l.y = Math.min(l.y, floor); floor = l.y - step; }
      const { ctx } = u;
      ctx.save();
      ctx.textAlign = "left";
      ctx.textBaseline = "middle";
      for (const l of labels) {
        ctx.font = `${l.bold ? 600 : 400} ${12 * ratio}px system-ui, sans-serif`;
        ctx.fillStyle = l.color;
        ctx.fillText(l.text.length > 22 ? l.text.slice(0, 21) + "…" : l.text, u.bbox.left + u.bbox.width + 8 * ratio, l.y);
      }
      ctx.restore();
    };

    const tooltip = (middle, styles) => {
      const tip = document.createElement("div");
      tip.className = "tip";
      tip.hidden = true;
      return {
        init: (u) => { u.over.append(tip); u.over.addEventListener("mouseleave", () => { tip.hidden = true; }); },
        setCursor: (u) => {
          const { idx, left, top } = u.cursor;
          if (idx === null || idx === undefined || left < 0) { tip.hidden = true; return; }
          let rows = chart.series.map((s, i) => ({ name: s.name, color: styles[i].color, value: u.data[middle[i]][idx], on: shown[i] }));
          rows = rows.filter((r) => r.on && r.value !== null && r.value !== undefined).sort((a, b) => b.value - a.value);
          const head = document.createElement("b");
          head.textContent = `${chart.x_label} ${chart.x[idx].toLocaleString("en")}`;
          tip.replaceChildren(head, ...rows.slice(0, 12).map((r) => {
            const line = document.createElement("div");
            const name = document.createElement("span");
            name.textContent = r.name;
            name.style.color = r.color;
            const value = document.createElement("span");
            value.textContent = number(r.value);
            line.append(name, value);
            return line;
          }));
          tip.hidden = rows.length === 0;
          const width = tip.offsetWidth;
          tip.style.left = Math.max(0, left + 16 + width > u.over.clientWidth ? left - 16 - width : left + 16) + "px";
          tip.style.top = Math.max(0, Math.min(top + 12, u.over.clientHeight - tip.offsetHeight)) + "px";
        },
      };
    };

    const draw = () => {
      const styles = looks();
      const log = logBox ? logBox.checked : false;
      const { data, series, bands, middle } = assemble(log, styles);
      u?.destroy();
      reset.hidden = true;
      const width = plot.clientWidth;
      const soft = variable("--soft");
      const line = variable("--line");
      const font = "12px system-ui, sans-serif";
      const axis = { stroke: soft, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
      const range = (u, lo, hi) => {
        if (lo === null || hi === null) return log ? [0.1, 1] : [0, 1];
        if (!log) return uPlot.rangeNum(lo, hi, 0.06, true);
        // A little air, and never less than a factor of two in all.
        const [least, most] = single ? common : [lo, hi];
        const air = Math.max(1.08, Math.sqrt((2 * least) / most));
        return [least / air, most * air];
      };
      // Round numbers only: 1, 2, 5 while they fit, else powers of ten.
      const splits = (u, axis, lo, hi) => {
        const ticks = [];
        const factors = hi / lo < 300 ? [1, 2, 5] : [1];
        for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++)
          for (const f of factors) ticks.push(Number(`${f}e${e}`));
        return ticks.filter((t) => t >= lo && t <= hi);
      };
      const logTicks = log ? { splits, filter: (u, ticks) => ticks } : {};
      const labelled = !single && width >= 560;
      const longest = Math.max(...chart.series.map((s, i) => (shown[i] ? Math.min(s.name.length, 22) : 0)), 4);
      // The invisible edges of bands must not attract the pointer.
      const nearest = (u, i, point, value, pointer) => (middle.includes(i) ? value - pointer : Infinity);
      const tip = tooltip(middle, styles);
      u = new uPlot({
        width, height: figure.closest(".grid") ? 260 : Math.max(280, Math.min(380, width * 0.5)),
        padding: [10, labelled ? 16 + longest * 6.6 : 12, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: true, y: true, uni: 30 }, focus: { prox: single ? -1 : 24, dist: nearest }, points: { show: false } },
        focus: { alpha: 0.35 },
        scales: { x: { time: false }, y: log ? { distr: 3, log: 10, range } : { range } },
        axes: [
          { ...axis, label: chart.x_label, labelFont: font, labelSize: 18, size: 30, space: 60, incrs, values: (u, ticks) => ticks.map((v) => (v >= 1e4 ? v / 1e3 + "k" : Number.isInteger(v) ? String(v) : "")) },
          { ...axis, ...logTicks, size: 62, values: (u, ticks) => ticks.map(tick) },
        ],
        series, bands,
        hooks: {
          init: [tip.init], setCursor: [tip.setCursor], draw: [endLabels(middle, styles)],
          setSelect: [(u) => { if (u.select.width > 0 || u.select.height > 0) reset.hidden = false; }],
        },
      }, data, plot);
      u.over.addEventListener("dblclick", () => { reset.hidden = true; });
      drawLegend(styles);
    };

    const drawLegend = (styles) => {
      if (single) return;
      legend.replaceChildren(...chart.series.map((s, i) => {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-pressed", String(shown[i]));
        const { color, width, dash } = styles[i];
        button.innerHTML = '<svg aria-hidden="true"><line x2="22" y1="5" y2="5"/></svg>';
        const swatch = { stroke: color, "stroke-width": width, "stroke-dasharray": dash.join(" ") };
        for (const [name, value] of Object.entries(swatch)) button.querySelector("line").setAttribute(name, value);
        button.append(s.name);
        button.addEventListener("click", () => {
          shown[i] = !shown[i];
          draw();
          legend.children[i].focus();
        });
        return button;
      }));
    };

    logBox?.addEventListener("change", draw);
    reset.addEventListener("click", draw);
    let known = plot.clientWidth;
    new ResizeObserver(() => {
      if (plot.clientWidth !== known) { known = plot.clientWidth; draw(); }
    }).observe(plot);
    draw();
    return draw;
  };

  const redraws = [...document.querySelectorAll("figure[data-chart]")].map(build);
  const redraw = () => redraws.forEach((draw) => draw());

  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const setTheme = (name) => {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    theme.textContent = "Theme: " + name;
    redraw();
  };
  let current = 0;
  theme.hidden = false;
  theme.addEventListener("click", () => setTheme(themes[(current = (current + 1) % themes.length)]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Paper is white whatever the screen is.
  addEventListener("beforeprint", () => { root.dataset.theme = "light"; redraw(); });
  addEventListener("afterprint", () => setTheme(themes[current]));
})();
