// The answers to a file: counted, filtered, sorted, 100 rows a page. All rows stay in arrays; only a page is drawn.
import { csvOf } from "./files-csv.js";

const PAGE_ROWS = 100;
const MOST_CLASS_COLUMNS = 6;
const SHOWN_CHARACTERS = 400;
const SHOWN_REJECTS = 100;
const SVG = "http://www.w3.org/2000/svg";
const words = new Intl.Collator();
const $ = (id) => document.getElementById(id);

/** Return a count with a thin space between thousands. */
export const grouped = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

/** Return a probability with three digits; what is not quite 0 or 1 does not say so. */
export function share(value) {
  if (value >= 0.9995 && value < 1) return "> 0.999";
  return value > 0 && value < 0.0005 ? "< 0.001" : value.toFixed(3);
}

/** Say something to those who hear the page. */
export function say(text) {
  $("live").textContent = text;
}

function made(tag, { text, ...attributes } = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The part of the page that shows answers. */
export class Results {
  constructor() {
    this.start = null;
    $("clear").addEventListener("click", () => this.#clearFilters());
    $("download-all").addEventListener("click", () => this.#download("answers", this.answers, this.rejects));
    $("download-shown").addEventListener("click", () => this.#download("chosen-answers", this.shown, []));
    for (const id of ["filter-label", "filter-of"]) $(id).addEventListener("change", () => this.#filter());
    for (const id of ["filter-text", "filter-least"]) $(id).addEventListener("input", () => this.#filterSoon());
    const turns = { first: () => 0, before: (page) => page - 1, next: (page) => page + 1, last: () => Infinity };
    for (const [name, turn] of Object.entries(turns)) $(`page-${name}`).addEventListener("click", () => this.#turn(turn(this.page)));
  }

  /** Forget what was there and show the answers that come after this line `start`. */
  begin(start) {
    Object.assign(this, { start, answers: [], rejects: [], shown: [], page: 0, cut: 0, drawnRejects: 0 });
    this.counts = new Map(start.labels.map((label) => [label, 0]));
    this.columns = columnsOf(start);
    this.sorted = { column: this.columns[0], sign: 1 };
    this.#fillFilters();
    this.#drawHeads();
    $("made-by").textContent = madeBy(start);
    $("rejects").hidden = true;
    $("rejects").open = false;
    $("reject-rows").replaceChildren();
    $("results").hidden = false;
    this.update();
  }

  /** Take rows of a line `answers`; they are drawn by `update`. */
  add(answers) {
    for (const answer of answers) {
      this.answers.push(answer);
      this.counts.set(answer.label, this.counts.get(answer.label) + 1);
      this.cut += answer.cut;
    }
  }

  /** Take a line `reject`. */
  reject(reject) {
    this.rejects.push(reject);
  }

  /** Draw what has come since. */
  update() {
    this.#drawCounts();
    this.#drawRejects();
    this.#choose();
    this.#drawPage();
  }

  #fillFilters() {
    const { labels, positive } = this.start;
    $("filter-label").replaceChildren(made("option", { text: "every label", value: "" }), ...labels.map((text) => made("option", { text, value: text })));
    const together = positive.length > 1 ? [made("option", { text: positive.join(" + "), value: "positive" })] : [];
    const classes = labels.map((text, index) => made("option", { text, value: String(index) }));
    $("filter-of").replaceChildren(made("option", { text: "the label", value: "label" }), ...together, ...classes);
    $("filter-of").value = positive.length > 1 ? "positive" : positive.length ? String(labels.indexOf(positive[0])) : "label";
    $("filter-text").value = $("filter-least").value = "";
  }

  #clearFilters() {
    $("filter-text").value = $("filter-label").value = $("filter-least").value = "";
    this.#filter();
    $("filter-text").focus();
  }

  #filterSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.#filter(), 150);
  }

  #filter() {
    this.page = 0;
    this.#choose();
    this.#drawPage();
    say(`${grouped(this.shown.length)} of ${grouped(this.answers.length)} answers`);
  }

  #choose() {
    const text = $("filter-text").value.toLowerCase();
    const label = $("filter-label").value;
    const least = $("filter-least").valueAsNumber;
    const value = probabilityOf($("filter-of").value, this.start);
    this.filtered = Boolean(text || label || least > 0);
    this.shown = this.answers.filter(
      (answer) => (!label || answer.label === label) && !(value(answer) < least) && (!text || answer.text.toLowerCase().includes(text)),
    );
    const { column, sign } = this.sorted;
    // Rows come in order, so that sorting by their numbers is nothing to do.
    if (column !== this.columns[0]) this.shown.sort((one, other) => sign * column.compare(one, other) || one.row - other.row);
    else if (sign < 0) this.shown.reverse();
  }

  #sortBy(column) {
    const again = this.sorted.column === column;
    this.sorted = { column, sign: again ? -this.sorted.sign : column.first };
    this.page = 0;
    this.#markHeads();
    this.#choose();
    this.#drawPage();
    say(`Sorted by ${column.name}, ${this.sorted.sign > 0 ? "ascending" : "descending"}`);
  }

  #turn(page) {
    this.page = page;
    this.#drawPage();
    say($("page-place").textContent);
  }

  #drawHeads() {
    const heads = this.columns.map((column) => {
      const head = made("th", { scope: "col", ...(column.figures && { class: "figures" }) });
      const button = made("button", { type: "button", text: column.name });
      button.addEventListener("click", () => this.#sortBy(column));
      head.append(button);
      return head;
    });
    $("heads").replaceChildren(...heads);
    this.#markHeads();
  }

  #markHeads() {
    const { column, sign } = this.sorted;
    [...$("heads").children].forEach((head, index) => {
      const way = sign > 0 ? "ascending" : "descending";
      head.setAttribute("aria-sort", this.columns[index] === column ? way : "none");
    });
  }

  #drawPage() {
    const [count, all] = [this.shown.length, this.answers.length];
    this.page = Math.max(0, Math.min(this.page, Math.ceil(count / PAGE_ROWS) - 1));
    const from = this.page * PAGE_ROWS;
    const rows = this.shown.slice(from, from + PAGE_ROWS);
    $("rows").replaceChildren(...rows.map((answer) => this.#drawRow(answer)));
    $("shown").textContent = this.filtered ? `${grouped(count)} of ${grouped(all)} answers` : `${grouped(all)} answers`;
    $("clear").hidden = $("download-shown").hidden = !this.filtered;
    $("download-shown").disabled = count === 0;
    $("pages").hidden = count <= PAGE_ROWS;
    $("page-place").textContent = `${grouped(from + 1)} to ${grouped(from + rows.length)} of ${grouped(count)}`;
    const last = from + PAGE_ROWS >= count;
    for (const [name, off] of [["first", !from], ["before", !from], ["next", last], ["last", last]]) $(`page-${name}`).disabled = off;
  }

  #drawRow(answer) {
    const row = made("tr");
    row.append(...this.columns.map((column) => column.cell(answer)));
    return row;
  }

  #drawCounts() {
    const { labels, positive } = this.start;
    const total = this.answers.length;
    $("counts").replaceChildren(...labels.map((label) => countRow(label, this.counts.get(label), { total, positive: positive.includes(label) })));
    const flagged = positive.reduce((sum, label) => sum + this.counts.get(label), 0);
    const parts = [`${grouped(total)} comments`];
    if (positive.length) parts.push(`${grouped(flagged)} flagged`);
    if (this.cut) parts.push(`${grouped(this.cut)} longer than the model reads`);
    $("counts-title").textContent = parts.join(" · ");
  }

  #drawRejects() {
    const count = this.rejects.length;
    const fresh = this.rejects.slice(this.drawnRejects, SHOWN_REJECTS);
    this.drawnRejects += fresh.length;
    $("reject-rows").append(...fresh.map(rejectRow));
    $("rejects").hidden = !count;
    $("rejects-title").textContent = count === 1 ? "One row cannot be read" : `${grouped(count)} rows cannot be read`;
    $("more-rejects").textContent = count > SHOWN_REJECTS ? "The others stand in the download." : "";
  }

  #download(name, answers, rejects) {
    const link = made("a", { href: URL.createObjectURL(csvOf(this.start, answers, rejects)), download: `${name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

function madeBy(start) {
  const threshold = start.threshold === null ? "" : ` · threshold ${share(start.threshold)}`;
  return `Model ${start.model}${threshold} · bundle ${start.bundle.slice(0, 12)} · column “${start.text_column}”`;
}

function probabilityOf(what, { labels }) {
  if (what === "positive") return (answer) => answer.positive_probability;
  if (what === "label") return (answer) => answer.probabilities[labels.indexOf(answer.label)];
  return (answer) => answer.probabilities[Number(what)];
}

function columnsOf(start) {
  const { labels, positive } = start;
  const figure = (name, value, write = share) => ({
    name, first: -1, figures: true,
    compare: (one, other) => value(one) - value(other),
    cell: (answer) => made("td", { class: "figures", text: write(value(answer)) }),
  });
  const byClass = labels.map((label, index) => figure(label, (answer) => answer.probabilities[index]));
  const ofLabel = figure("Probability", probabilityOf("label", start));
  const together = figure(positive.join(" + "), probabilityOf("positive", start));
  return [
    { ...figure("Row", (answer) => answer.row, grouped), first: 1 },
    { name: "Comment", first: 1, compare: (one, other) => words.compare(one.text, other.text), cell: commentCell },
    { name: "Label", first: 1, compare: (one, other) => words.compare(one.label, other.label), cell: (answer) => labelCell(answer, positive) },
    ...(labels.length > MOST_CLASS_COLUMNS ? [ofLabel] : byClass),
    ...(positive.length > 1 ? [together] : []),
  ];
}

function commentCell(answer) {
  const cell = made("td", { class: "words", dir: "auto" });
  const characters = answer.text.length > SHOWN_CHARACTERS * 1.25 ? [...answer.text.slice(0, 2 * SHOWN_CHARACTERS)] : null;
  if (!characters) cell.textContent = answer.text;
  else {
    const all = made("button", { type: "button", class: "button small", text: `Show all ${grouped(answer.text.length)} characters` });
    all.addEventListener("click", () => (cell.textContent = answer.text));
    cell.append(`${characters.slice(0, SHOWN_CHARACTERS).join("")}… `, all);
  }
  if (answer.cut) cell.append(" ", made("span", { class: "tag faint", title: "Longer than the model reads", text: "cut" }));
  return cell;
}

function labelCell(answer, positive) {
  const cell = made("td", { class: "file-label" });
  cell.append(positive.includes(answer.label) ? made("span", { class: "tag bad", text: answer.label }) : answer.label);
  return cell;
}

function rejectRow(reject) {
  const row = made("tr");
  const problem = reject.place ? `${reject.problem} (${reject.place})` : reject.problem;
  row.append(made("td", { class: "figures row-number", text: grouped(reject.row) }), made("td", { class: "words", text: problem }));
  return row;
}

function countRow(label, count, { total, positive }) {
  const row = made("tr");
  const part = total ? (100 * count) / total : 0;
  const drawing = made("td", { "aria-hidden": "true" });
  drawing.append(bar(part, positive ? "positive" : "bar"));
  row.append(made("th", { scope: "row", text: label }), made("td", { class: "figures", text: grouped(count) }), made("td", { class: "figures", text: `${part.toFixed(1)} %` }), drawing);
  return row;
}

function bar(part, kind) {
  const drawing = document.createElementNS(SVG, "svg");
  const rect = (kind, width) => {
    const element = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ class: kind, width, height: 12, rx: 4 })) element.setAttribute(name, value);
    return element;
  };
  for (const [name, value] of [["width", "100%"], ["height", 12]]) drawing.setAttribute(name, value);
  drawing.append(rect("track", "100%"), rect(kind, `${part}%`));
  return drawing;
}
