"use strict";
// The page says everything without this script. It adds a button to copy the command, sliders to films and tables that
// are sorted by a click.

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
        if (!column) return sign * compared(one.cells[0].textContent, other.cells[0].textContent);
        const [a, b] = [value(one, column), value(other, column)];
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // no number comes last
        return sign * (Number(a) - Number(b));
      });
      body.append(...sorted);
    });
  });
}

// Paper: everything unfolded

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
