// The page Files: sends a file or pasted comments to the API and reads the answer while it comes.
import { Results, grouped, say } from "./files-results.js";

const $ = (id) => document.getElementById(id);
const form = $("file-form");
const results = new Results();
const TEXT_NAMES = /^(text|comment_text|comment|tweet|content|sentence|message|body|post|review|utterance|document|prompt|title)$/i;
const UPDATE_MS = 400;
const SAY_MS = 5000;
let working = null;
let plainText = $("text");
let chosenByHand = false;

/* What is sent */

function kindOfPasted(text) {
  if (form.elements.lines.value === "true") return "txt";
  if (text.trimStart().startsWith("{")) return "jsonl";
  return text.split("\n", 1)[0].includes("\t") ? "tsv" : "csv";
}

function fieldsToSend() {
  const fields = new FormData(form);
  const pasted = $("pasted").value;
  if (!$("file").files.length) {
    fields.set("file", new Blob([pasted]), `pasted.${kindOfPasted(pasted)}`);
  }
  fields.delete("pasted");
  fields.set("format", "ndjson");
  return fields;
}

/** Guess whether the first line names columns, until a person says so. */
function guessLines(text, name = "") {
  if (chosenByHand) return;
  const first = text.trimStart().split("\n", 1)[0].trim();
  const columns = first.split(/[,\t]/).map((column) => column.trim().replaceAll('"', ""));
  const named = first.startsWith("{") || columns.some((column) => TEXT_NAMES.test(column));
  const lines = name ? /\.txt$/i.test(name) : Boolean(first) && !named;
  form.elements.lines.value = String(lines);
  linesChosen();
}

/** Where each line is a comment there are no columns to choose from. */
function linesChosen() {
  $("text-field").hidden = $("text").disabled = form.elements.lines.value === "true";
}

function fileChosen() {
  const file = $("file").files[0];
  $("pasted").disabled = Boolean(file);
  $("chosen").hidden = !file;
  askForColumn();
  clearProblems();
  if (file) guessLines("", file.name);
  else guessLines($("pasted").value);
}

/* What is wrong */

const sentence = (text = "") => text && `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

function clearProblems() {
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const problem of form.querySelectorAll(".problem")) problem.textContent = "";
  $("message").replaceChildren();
}

function notice(title, detail, kind = "bad") {
  const box = document.createElement("div");
  const [head, body] = [document.createElement("strong"), document.createElement("p")];
  box.className = `notice ${kind}`;
  if (kind === "bad") box.setAttribute("role", "alert");
  head.textContent = title;
  body.textContent = detail;
  box.append(head, body);
  $("message").replaceChildren(box);
}

function fieldProblem(where, text) {
  $(where).setAttribute("aria-invalid", "true");
  $(`${where}-problem`).textContent = sentence(text);
}

function showProblem(problem) {
  const errors = problem.errors ?? [];
  const columns = errors.filter((error) => error.column !== undefined).map((error) => error.column);
  const wrong = errors.filter((error) => error.column === undefined && ["file", "pasted", "text", "threshold"].includes(error.where));
  if (columns.length) askForColumn(columns);
  for (const { where, problem: text } of wrong) fieldProblem(where === "file" && !$("file").files.length ? "pasted" : where, text);
  if (wrong.length) {
    form.querySelector("[aria-invalid]").focus();
    say(wrong.map((error) => error.problem).join("; "));
  } else notice(problem.title, sentence(problem.detail));
}

/** Let the column be written, or chosen where its names are known. */
function askForColumn(names = null) {
  const now = $("text");
  if (!names) {
    if (now !== plainText) now.replaceWith(plainText);
    $("text-hint").textContent = "Empty: the one that looks like it.";
    return;
  }
  const select = document.createElement("select");
  Object.assign(select, { id: "text", name: "text" });
  select.setAttribute("aria-describedby", "text-hint text-problem");
  select.append(new Option("choose one", ""), ...names.map((name) => new Option(name, name)));
  now.replaceWith(select);
  $("text-hint").textContent = "These are the columns of the file.";
}

/* The work */

async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

/** Draws what has come now and then, the more seldom the longer drawing takes. */
class Meter {
  constructor(rows) {
    Object.assign(this, { rows, done: 0, began: performance.now(), next: 0, spoken: performance.now() });
    $("progress").max = Math.max(rows, 1);
  }

  at(done) {
    this.done = done;
    const now = performance.now();
    if (now < this.next) return;
    this.draw();
    this.next = performance.now() + Math.max(UPDATE_MS, 5 * (performance.now() - now));
    if (now - this.spoken < SAY_MS) return;
    this.spoken = now;
    say(`${grouped(this.done)} of ${grouped(this.rows)} rows are done`);
  }

  draw() {
    this.end();
    const perSecond = this.done / Math.max((performance.now() - this.began) / 1000, 0.001);
    const left = this.done < this.rows && perSecond ? ` · about ${duration((this.rows - this.done) / perSecond)} left` : "";
    $("pace").append(` · ${grouped(Math.round(perSecond))} rows/s${left}`);
  }

  end() {
    results.update();
    $("progress").value = this.done;
    $("pace").textContent = `${grouped(this.done)} of ${grouped(this.rows)} rows`;
  }
}

function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function begin(start) {
  results.begin(start);
  $("progress-name").textContent = "Classifying";
  say(`${grouped(start.rows)} rows are being classified`);
  return new Meter(start.rows);
}

/** Read the answer and return its last line. */
async function read(response) {
  let meter = null;
  try {
    for await (const line of linesOf(response)) {
      if (line.kind === "start") meter = begin(line);
      else if (line.kind === "reject") results.reject(line);
      else if (line.kind === "answers") {
        results.add(line.answers);
        meter.at(line.done);
      } else return line;
    }
  } finally {
    meter?.end();
  }
  throw new TypeError("the answer ended before its last line");
}

function finish(line) {
  if (line.kind === "problem") {
    $("progress-name").textContent = "Not finished";
    return notice(line.title, `${sentence(line.detail)} The answers below are not all.`);
  }
  const rejected = line.rejected ? `, ${grouped(line.rejected)} could not be read` : "";
  $("progress-name").textContent = "Done";
  $("pace").textContent = `${grouped(line.answered)} comments in ${duration(line.seconds)}${rejected}`;
  say(`Done: ${$("pace").textContent}`);
  if (!line.rows) notice("No rows", "The file has column names only, and no comments.", "warning");
}

function broken(stopped) {
  $("progress-name").textContent = stopped ? "Stopped" : "Not finished";
  if (stopped) say("Stopped");
  else notice("The connection was cut", "What came before is shown below. Is the server running? Then try again.");
}

function setWorking(controller) {
  const stopFocused = document.activeElement === $("stop");
  working = controller;
  $("start").disabled = Boolean(controller);
  $("stop").hidden = !controller;
  if (controller) {
    $("work").hidden = false;
    $("work").scrollIntoView({ block: "nearest" });
    $("results").hidden = true;
    $("progress").removeAttribute("value");
    $("progress-name").textContent = "Sending";
    $("pace").textContent = "";
    $("stop").focus();
  } else if (stopFocused) $("start").focus();
}

async function work() {
  const controller = new AbortController();
  clearProblems();
  if (!$("file").files.length && !$("pasted").value.trim()) return showProblem({ errors: [{ where: "pasted", problem: "Choose a file or paste comments first." }] });
  setWorking(controller);
  let problem = null;
  try {
    const response = await fetch(form.dataset.api, { method: "POST", body: fieldsToSend(), signal: controller.signal });
    if (response.ok) finish(await read(response));
    else problem = await response.json();
  } catch {
    broken(controller.signal.aborted);
  } finally {
    setWorking(null);
  }
  if (problem) {
    $("work").hidden = true;
    showProblem(problem);
  }
}

/* The page */

function modelChosen() {
  const threshold = $("threshold");
  if (!threshold) return;
  const { positive, threshold: own } = $("model").selectedOptions[0].dataset;
  $("threshold-field").hidden = threshold.disabled = positive === undefined;
  $("own-threshold").textContent = own ? `, ${own}` : "";
}

function drop(event) {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (!event.dataTransfer.files.length || working) return;
  $("file").files = event.dataTransfer.files;
  fileChosen();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!working) work();
});
$("stop").addEventListener("click", () => working?.abort());
$("file").addEventListener("change", fileChosen);
$("unchoose").addEventListener("click", () => {
  $("file").value = "";
  fileChosen();
  $("file").focus();
});
$("pasted").addEventListener("input", () => {
  askForColumn();
  guessLines($("pasted").value);
});
for (const choice of form.elements.lines) {
  choice.addEventListener("change", () => {
    chosenByHand = true;
    linesChosen();
  });
}
$("model").addEventListener("change", modelChosen);
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && $("drop").classList.remove("over"));
document.addEventListener("drop", drop);
$("drop-hint").hidden = false;
fileChosen();
modelChosen();
