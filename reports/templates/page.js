"use strict";
{
  const MOST_CHOICES = 40;
  const LEAST_ROWS = 3;
  const data = JSON.parse(document.getElementById("data").textContent);
  const field = Object.fromEntries(data.fields.map((name, place) => [name, place]));

  const made = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Sorting: up, down, as it was.
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.textContent === "–" ? null : cell.textContent.toLowerCase();
  };
  const sort = (table, rows, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const way = NEXT[heads[column].getAttribute("aria-sort") ?? "none"];
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    heads[column].setAttribute("aria-sort", way);
    let sorted = rows;
    if (way !== "none") {
      const sign = way === "ascending" ? 1 : -1;
      const keyed = rows.map((row) => [valueOf(row, column), row]);
      keyed.sort(([a], [b]) =>
        a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b));
      sorted = keyed.map(([, row]) => row);
    }
    table.tBodies[0].append(...sorted);
  };

  // Filtering: every word must be in the row, every choice must be met.
  const filters = (article, table, rows) => {
    const box = made("div", "", { class: "filters" });
    const search = made("input", "", { type: "search", autocomplete: "off" });
    const label = made("label", "Filter");
    label.append(search);
    box.append(label);
    const choices = [];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.dataset.choice === undefined) return;
      const values = [...new Set(rows.map((row) => row.cells[column].textContent))];
      if (values.length < 2 || values.length > MOST_CHOICES) return;
      const select = made("select");
      select.append(made("option", "all", { value: "" }));
      values.forEach((value) => select.append(made("option", value, { value: "=" + value })));
      const named = made("label", head.textContent);
      named.append(select);
      box.append(named);
      choices.push([column, select]);
    });
    const count = made("output", "", { "aria-live": "polite" });
    box.append(count);
    const texts = rows.map((row) => [...row.cells].map((c) => c.textContent).join(" ").toLowerCase());
    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        const fits = words.every((word) => texts[place].includes(word)) &&
          choices.every(([column, select]) =>
            !select.value || "=" + row.cells[column].textContent === select.value);
        row.hidden = !fits;
        shown += fits;
      });
      count.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
    };
    for (const event of ["input", "change"]) box.addEventListener(event, update);
    article.querySelector(".scroll").before(box);
  };

  for (const article of document.querySelectorAll("article")) {
    const table = article.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    if (rows.length >= LEAST_ROWS) filters(article, table, rows);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = made("button", head.textContent, { type: "button" });
      button.addEventListener("click", () => sort(table, rows, column));
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
    });
  }

  // The cells behind a number.
  const pane = document.getElementById("pane");
  const told = (cell, name) => {
    const value = cell[field[name]];
    return data.kinds[field[name]] === "text" ? data.texts[value] : value;
  };
  const seconds = (value) => (value === null ? "–" : value.toPrecision(3).replace(/\.?0+$/, ""));
  const percent = (cell) => told(cell, "percent") + (told(cell, "of") === "bytes" ? " of bytes" : "");
  const COLUMNS = [
    ["cell", "left id", (c) => told(c, "id")],
    ["method", "left", (c) => told(c, "method")],
    ["kept %", "", percent],
    ["model", "left", (c) => told(c, "model")],
    ["protocol", "left", (c) => told(c, "protocol")],
    ["seeds", "", (c) => `${told(c, "selection_seed")}/${told(c, "training_seed")}`],
    ["accuracy %", "", (c) => told(c, "accuracy").toFixed(2)],
    ["best epoch", "", (c) => told(c, "best_accuracy").toFixed(2)],
    ["selection s", "", (c) => seconds(told(c, "selection_s"))],
    ["training s", "", (c) => seconds(told(c, "training_s"))],
    ["testing s", "", (c) => seconds(told(c, "testing_s"))],
    ["steps", "", (c) => told(c, "steps").toLocaleString("en")],
    ["images", "", (c) => told(c, "images").toLocaleString("en")],
    ["bytes", "", (c) => told(c, "bytes").toLocaleString("en")],
    ["finished", "left id", (c) => told(c, "finished")],
    ["host", "left id", (c) => told(c, "host")],
  ];
  const SHOWN_WHERE_THEY_DIFFER = new Set(["method", "kept %", "model", "protocol"]);
  const columnsOf = (cells) => COLUMNS.filter(([title, , text]) =>
    !SHOWN_WHERE_THEY_DIFFER.has(title) || new Set(cells.map(text)).size > 1);
  const linked = (identifier) =>
    made("a", identifier, { href: `records/${encodeURIComponent(identifier)}.json` });
  const show = (button) => {
    const cells = data.links[Number(button.dataset.k)].map((place) => data.cells[place]);
    const cell = button.closest("td");
    const heads = [...cell.closest("table").tHead.rows[0].cells];
    const named = heads
      .map((head, place) => [head, cell.parentElement.cells[place].textContent])
      .filter(([head], place) => place === 0 || head.textContent === "kept %")
      .map(([head, text]) => (head.textContent.includes("%") ? `${text} %` : text));
    const heading = heads[cell.cellIndex].textContent;
    document.getElementById("pane-title").textContent =
      `${named.join(" · ")} · ${heading}: ${button.textContent}`;
    const table = made("table");
    const origins = [...new Set(cells.map((c) => told(c, "origin")))];
    const columns = origins.length > 1
      ? [...columnsOf(cells), ["origin", "", (c) => `[${origins.indexOf(told(c, "origin")) + 1}]`]]
      : columnsOf(cells);
    const head = table.createTHead().insertRow();
    columns.forEach(([title, kind]) => head.append(made("th", title, { scope: "col", class: kind })));
    const body = table.createTBody();
    for (const one of cells) {
      const row = body.insertRow();
      columns.forEach(([title, kind, text]) => {
        const place = made("td", title === "cell" ? "" : String(text(one)), { class: kind });
        if (title === "cell") place.append(linked(text(one)));
        row.append(place);
      });
    }
    const scroll = made("div", "", { class: "scroll", tabindex: "0" });
    scroll.append(table);
    const list = made("ol");
    origins.forEach((origin) => list.append(made("li", origin)));
    const title = cell.closest("article").querySelector("h3").textContent;
    document.getElementById("pane-body").replaceChildren(
      made("p", `${title}. Made of ${cells.length} ${cells.length === 1 ? "cell" : "cells"}; ` +
        "seeds are those of selection/training. On the command line: " +
        (cells.length ? `bench why ${told(cells[0], "id")}` : "")),
      scroll, made("h3", "Code and machines"), list);
    pane.showModal();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-k]");
    if (button) show(button);
    else if (event.target === pane) pane.close();
  });
}
