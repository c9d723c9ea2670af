// What a page of the report does by itself: sort tables, fold its contents away where there is little room, and unfold
// everything for print. Without it nothing is lost.
(() => {
  "use strict";

  const MISSING = new Set(["", "—"]);
  const NUMBER = /^[<≤≈]?\s*([−+-]?)((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?=$|[\s%(±])/u;
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  /** Return the number that a text begins with; NaN where there is none. */
  function leading(text) {
    const found = NUMBER.exec(text);
    if (!found) return NaN;
    const size = Number(found[2].replaceAll(",", ""));
    return found[1] === "−" || found[1] === "-" ? -size : size;
  }

  /** Return what each row is sorted by: numbers if half of what is known begins with one, else texts; null: missing. */
  function keysOf(rows, column) {
    const cells = rows.map((row) => row.cells[column]);
    const texts = cells.map((cell) => (cell ? cell.textContent.trim() : ""));
    const numbers = cells.map((cell, i) => (cell?.dataset.key ? Number(cell.dataset.key) : leading(texts[i])));
    const known = texts.filter((text) => !MISSING.has(text)).length;
    const areNumbers = 2 * numbers.filter((value) => !Number.isNaN(value)).length >= Math.max(known, 1);
    if (areNumbers) return numbers.map((value) => (Number.isNaN(value) ? null : value));
    return texts.map((text) => (MISSING.has(text) ? null : text));
  }

  function compare(one, other) {
    return typeof one === "number" ? one - other : words.compare(one, other);
  }

  /** Return the rows in a new order: those without a key last in any case, equal ones as they were. */
  function sorted(rows, column, direction) {
    const keys = keysOf(rows, column);
    const order = rows.map((_, index) => index);
    const known = order.filter((index) => keys[index] !== null);
    const missing = order.filter((index) => keys[index] === null);
    known.sort((one, other) => direction * compare(keys[one], keys[other]));
    return [...known, ...missing].map((index) => rows[index]);
  }

  /** Make the header's cells buttons: once for rising, twice for falling, three times for the first order. */
  function makeSortable(table) {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[header.ariaSort];
        const state = next === undefined ? "ascending" : next;
        headers.forEach((each) => each.removeAttribute("aria-sort"));
        if (state) header.setAttribute("aria-sort", state);
        body.append(...(state ? sorted(first, column, state === "ascending" ? 1 : -1) : first));
      });
    });
  }

  /** Keep the contents folded where they would hide what one reads. */
  function foldContents(contents) {
    const narrow = matchMedia("(max-width: 76rem)");
    const adapt = () => {
      contents.open = !narrow.matches;
    };
    narrow.addEventListener("change", adapt);
    contents.addEventListener("click", (event) => {
      if (narrow.matches && event.target.closest("a")) contents.open = false;
    });
    adapt();
  }

  function unfoldForPrint() {
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("main details:not([open])")];
      opened.forEach((fold) => fold.setAttribute("open", ""));
    });
    addEventListener("afterprint", () => opened.forEach((fold) => fold.removeAttribute("open")));
  }

  document.documentElement.classList.add("scripted");
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("details.contents").forEach(foldContents);
  unfoldForPrint();
})();
