"use strict";
// Controls of the page. All data stands in the element #data; Bokeh draws into the elements that it names.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const drawings = []; // Bokeh documents, once drawn

  // The counterpart of neurosim.units.show: three significant digits and a prefix.
  const show = (value, unit) => {
    if (value === 0 || !Number.isFinite(value)) return `${value} ${unit}`;
    let exponent = Math.min(9, Math.max(-15, 3 * Math.floor(Math.log10(Math.abs(value)) / 3)));
    if (Math.abs(Number((value / 10 ** exponent).toPrecision(3))) >= 1000 && exponent < 9) exponent += 3;
    const prefix = { "-15": "f", "-12": "p", "-9": "n", "-6": "u", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G" }[exponent];
    return `${Number((value / 10 ** exponent).toPrecision(3))} ${prefix}${unit}`;
  };

  const model = (name) => {
    for (const drawing of drawings) {
      const found = drawing.get_model_by_name(name);
      if (found) return found;
    }
    return null;
  };

  const control = (key) => document.querySelector(`[data-key="${key}"]`);

  // ---- light and dark ----

  const isDark = () => {
    const chosen = document.documentElement.style.colorScheme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  const paint = () => {
    const ink = getComputedStyle(document.body).color;
    for (const drawing of drawings) {
      for (const part of drawing._all_models.values()) {
        const colours = {};
        for (const name of ["major_label_text_color", "axis_label_text_color", "title_text_color", "label_text_color", "axis_line_color",
          "major_tick_line_color", "grid_line_color"]) {
          if (name in part.properties) colours[name] = ink;
        }
        if (part.name === "ink") Object.assign(colours, part.glyph ? {} : { line_color: ink });
        if (part.name === "ink" && part.glyph) part.glyph.setv({ line_color: { value: ink } });
        if (Object.keys(colours).length) part.setv(colours);
      }
    }
    const button = document.getElementById("theme");
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(isDark()));
    button.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
  };

  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.style.colorScheme = isDark() ? "light" : "dark";
    paint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  // ---- tables ----

  const keyOf = (cell) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value));

  const compare = (a, b) => {
    const [x, y] = [keyOf(a), keyOf(b)];
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x !== null ? 1 : -1; // text before numbers, so numbers first when descending
    return a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
  };

  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      const body = header.closest("table").tBodies[0];
      const first = header.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = header.getAttribute("aria-sort") === first ? second : first;
      for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => sign * compare(a.cells[header.cellIndex], b.cells[header.cellIndex]));
      body.append(...rows);
    });
  }

  // ---- core mesh ----

  const drawMesh = () => {
    const { counters, windows, values, waited } = data.mesh;
    const slider = control("window");
    const at = slider ? Number(slider.value) : 0;
    const counter = counters.find((c) => c.name === control("counter").value);
    const source = model("mesh_source");
    const columns = {};
    for (const { name } of counters) columns[name] = values[name][at];
    source.data = { ...source.data, ...columns, shown: values[counter.name][at] };
    model("mesh_colours").setv({ low: 0, high: (at === 0 ? counter.whole : counter.high) || 1 });
    model("mesh_bar").title = counter.label;
    if (!slider) return;
    const [first, last] = windows[at];
    const span = at === 0 ? `Whole run, timesteps 0 to ${last - 1}` : `Timesteps ${first} to ${last - 1}`;
    const most = values[counter.name][at].indexOf(Math.max(...values[counter.name][at]));
    const slowest = waited[at] === null ? "" : ` Waited for longest: core ${waited[at]}.`;
    const text = `${span}. Most ${counter.name.replaceAll("_", " ")}: core ${most}.${slowest}`;
    control("window-text").textContent = text;
    slider.setAttribute("aria-valuetext", span);
  };

  // ---- energy, priced again ----

  const setUpPrices = () => {
    const form = document.querySelector("form.prices");
    const { terms, rest_j, per, total_j, complete } = data.prices;
    const figures = terms.map((term) => term.figure);
    const fields = [...form.querySelectorAll("fieldset")];

    const priceAgain = () => {
      const total = (rest_j + terms.reduce((sum, term, i) => sum + term.count * figures[i], 0)) / per;
      const changed = figures.some((figure, i) => figure !== terms[i].figure);
      const output = document.getElementById("total");
      output.dataset.value = String(total);
      output.textContent = (complete ? "" : "\u2265 ") + show(total, "J");
      document.getElementById("total-change").textContent =
        changed ? `${(total / total_j).toPrecision(4)} times the price above` : "as priced above";
      const line = model("priced_again");
      if (line) line.setv({ location: total / line.tags[0], visible: changed });
    };

    fields.forEach((field, i) => {
      const term = terms[i];
      const [slider, typed] = field.querySelectorAll("input");
      slider.addEventListener("input", () => {
        const share = Number(slider.value) / 100;
        const end = share < 0 ? term.low : term.high;
        figures[i] = Math.abs(share) === 1 ? end : term.figure + Math.abs(share) * (end - term.figure);
        typed.value = String(Number((figures[i] / term.scale).toPrecision(6)));
        slider.setAttribute("aria-valuetext", show(figures[i], term.base));
        priceAgain();
      });
      typed.addEventListener("input", () => {
        if (typed.value === "" || !(Number(typed.value) >= 0)) return;
        figures[i] = Number(typed.value) * term.scale;
        const span = figures[i] < term.figure ? term.figure - term.low : term.high - term.figure;
        slider.value = span ? String(100 * (figures[i] - term.figure) / span) : "0";
        priceAgain();
      });
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      terms.forEach((term, i) => { figures[i] = term.figure; });
      priceAgain();
    });
    priceAgain();
  };

  // ---- Pareto front ----

  const drawFront = () => {
    const figure = model("front_figure");
    const source = model("front_source");
    const [x, y] = [control("x").value, control("y").value];
    const at = figure.tags[0] instanceof Map ? Object.fromEntries(figure.tags[0]) : figure.tags[0];
    source.data = { ...source.data, x: source.data[at[x]], y: source.data[at[y]] };
    figure.below[0].axis_label = data.front.titles[x];
    figure.left[0].axis_label = data.front.titles[y];
  };

  // ---- start ----

  const start = async () => {
    for (const item of data.plots) {
      const views = await Bokeh.embed.embed_item(item);
      const [root] = views.roots ?? views;
      drawings.push(root.model.document);
    }
    paint();
    if (data.mesh) {
      control("counter").addEventListener("change", drawMesh);
      control("window")?.addEventListener("input", drawMesh);
      drawMesh();
    }
    if (data.prices) setUpPrices();
    if (data.front) {
      control("x").addEventListener("change", drawFront);
      control("y").addEventListener("change", drawFront);
    }
    window.neurosimPage = { model, data };
    document.documentElement.dataset.ready = "yes";
  };
  start();
})();
