"use strict";
// The page says everything without this script. It adds a button to copy the command, sliders to films, tables that are
// sorted by a click, and filters above a table of runs.

const made = (name, text, settings = {}) => Object.assign(document.createElement(name), { textContent: text }, settings);

// Commands

for (const block of document.querySelectorAll(".command")) {
  const code = block.querySelector("code"), button = made("button", "copy", { type: "button" });
  button.setAttribute("aria-label", "copy the command");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch { // a browser may refuse; the selected text can still be copied by hand
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  block.append(button);
}

// Films: one frame at a time, chosen by a slider

const PAUSE = 500; // milliseconds that a frame is shown
for (const film of document.querySelectorAll(".film")) {
  const frames = [...film.querySelectorAll(".frames > li")], last = frames.length - 1;
  if (last < 1) continue;
  const labels = frames.map(frame => frame.querySelector("small").textContent);
  const play = made("button", "play", { type: "button" });
  const slider = made("input", "", { type: "range", min: 0, max: last, step: 1, value: last });
  const label = made("output", "");
  let timer = null;
  slider.setAttribute("aria-label", "frame of " + film.dataset.name);
  label.setAttribute("aria-live", "off"); // the slider says its own value, and while playing nobody wants to hear all

  function show(place) {
    slider.value = place;
    frames.forEach((frame, number) => {
      frame.classList.toggle("current", number === place);
      frame.setAttribute("aria-hidden", number !== place);
    });
    label.textContent = labels[place];
    slider.setAttribute("aria-valuetext", labels[place]);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
  }
  function start() {
    if (Number(slider.value) === last) show(0);
    play.textContent = "pause";
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      show(Math.min(next, last));
      if (next >= last) stop();
    }, PAUSE);
  }
  play.setAttribute("aria-label", "play or pause " + film.dataset.name);
  play.addEventListener("click", () => timer === null ? start() : stop());
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  const controls = made("div", "", { className: "controls" });
  controls.append(play, slider, label);
  film.querySelector(".frame").after(controls);
  film.classList.add("live");
  show(last);
}

// Tables: a click sorts by a column with the best first, a second one the other way, a third one as they were

const compared = new Intl.Collator(undefined, { numeric: true }).compare;
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  table.closest(".scroll").after(made("p", "A click on the name of a column sorts the table by it.", { className: "muted hint" }));
  const value = (row, column) => row.cells[column].dataset.value;
  heads.forEach((head, column) => {
    if (head.dataset.kind === "none") return;
    const button = made("button", "", { type: "button", title: "sort by this column" });
    const first = head.dataset.better === "max" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    button.append(head.firstChild);
    head.prepend(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
      const sign = order === "descending" ? -1 : 1;
      heads.forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const sorted = order === "none" ? rows : [...rows].sort((one, other) => {
        if (!column || head.dataset.kind === "text") {
          const [a, b] = [one.cells[column].textContent, other.cells[column].textContent];
          return !a || !b ? !a - !b : sign * compared(a, b);
        }
        const [a, b] = [value(one, column), value(other, column)];
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // no number comes last
        return sign * (Number(a) - Number(b));
      });
      body.append(...sorted);
    });
  });
}

// Runs: a menu for each column of few values, and a line of words and conditions such as latent_dim=8 or nll<80

for (const table of document.querySelectorAll("table.filtered")) {
  const said = row => [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase();
  const rows = [...table.tBodies[0].rows].map(row => [row, said(row)]);
  const heads = [...table.tHead.rows[0].cells];
  const titles = heads.map(head => (head.querySelector("button") ?? head).firstChild.textContent.trim());
  const bar = made("form", "", { className: "filters" }), count = made("output", "");
  const words = made("input", "", { type: "search", placeholder: "words, or nll<80" });
  words.setAttribute("aria-label", "show runs that have these words, or fulfil conditions such as nll<80");
  const menus = heads.flatMap((head, column) => {
    if (!head.dataset.menu) return [];
    const values = [...new Set(rows.map(([row]) => row.cells[column].textContent))].sort(compared);
    if (values.length < 2 || values.length > 40) return [];
    const menu = made("select", "");
    menu.setAttribute("aria-label", titles[column]);
    menu.append(new Option("any " + titles[column], ""), ...values.map(value => new Option(value || "none", "=" + value)));
    return [{ menu, column }];
  });

  // A column by its name or the end of it; a setting that has none stands in the column of differences.
  function held(row, [whole, name, sign, wanted]) {
    const column = titles.findIndex(title => title.toLowerCase() === name || title.toLowerCase().endsWith("/" + name));
    let value = column < 0 ? undefined : row.cells[column].dataset.value ?? row.cells[column].textContent.toLowerCase();
    if (column < 0) {
      const found = said(row).match(new RegExp("(?:^|[\\s.])" + name.replace(/[^\w]/g, "\\$&") + "=([^\\s]*)"));
      value = found?.[1];
    }
    if (value === undefined || value === "") return false;
    const [a, b] = [Number(value), Number(wanted)], numbers = !Number.isNaN(a) && !Number.isNaN(b);
    switch (sign) {
      case "=": return numbers ? a === b : value === wanted;
      case "!=": return numbers ? a !== b : value !== wanted;
      case "~": return value.includes(wanted);
      case ">": return numbers && a > b;
      case "<": return numbers && a < b;
      case ">=": return numbers && a >= b;
      default: return numbers && a <= b;
    }
  }
  function filter() {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const conditions = asked.map(word => word.match(/^([^=!<>~]+)(!=|>=|<=|=|>|<|~)(.+)$/) ?? word);
    let shown = 0;
    for (const [row, text] of rows) {
      const hidden = menus.some(({ menu, column }) => menu.value && menu.value !== "=" + row.cells[column].textContent)
        || !conditions.every(one => typeof one === "string" ? text.includes(one) : held(row, one));
      row.hidden = hidden;
      shown += !hidden;
    }
    count.textContent = shown === rows.length ? `${shown} runs` : `${shown} of ${rows.length} runs`;
  }
  bar.append(words, ...menus.map(({ menu }) => menu), count);
  bar.addEventListener("input", filter);
  bar.addEventListener("submit", event => event.preventDefault());
  table.closest(".scroll").before(bar);
  filter();
}

// Paper: everything unfolded

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
