// Answers as a CSV, the same that /v1/files gives with format=csv.

// What Excel, LibreOffice and Google Sheets take for the start of a formula; the rule of serve/cells.py.
const FORMULA = /^[\s\0-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]*[=+\-@＝＋－＠]/;
const CONTROL = /^[\t\r\n]/;

/** Return the value, with an apostrophe in front where a spreadsheet could take it for a formula. */
export function safeCell(value) {
  return CONTROL.test(value) || FORMULA.test(value) ? `'${value}` : value;
}

/**
 * Return a CSV as a Blob.
 * @param {object} start the line `start` of the answer
 * @param {object[]} answers rows of the lines `answers`
 * @param {object[]} rejects lines `reject`
 */
export function csvOf(start, answers, rejects) {
  const positive = start.positive.length > 0;
  const added = ["label", ...start.labels.map((label) => `probability_${label}`)];
  added.push(...(positive ? ["positive_probability"] : []), "cut");
  const rows = [...answers.map((answer) => answerCells(answer, positive)), ...rejects.map((reject) => rejectCells(reject, added.length))];
  rows.sort((one, other) => one[0] - other[0]);
  const lines = [["row", "text", ...added, "problem"].map(safeCell), ...rows].map((cells) => `${cells.map(quoted).join(",")}\r\n`);
  return new Blob(lines, { type: "text/csv" });
}

function answerCells(answer, positive) {
  const shares = positive ? [...answer.probabilities, answer.positive_probability] : answer.probabilities;
  return [answer.row, safeCell(answer.text), safeCell(answer.label), ...shares.map((share) => share.toFixed(6)), answer.cut, ""];
}

function rejectCells(reject, added) {
  return [reject.row, "", ...Array(added).fill(""), safeCell(reject.problem)];
}

function quoted(value) {
  const cell = String(value);
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
