// Makes the form of the first page quicker to use: a counter, a check before anything is sent, Ctrl + Enter, and the
// model that was chosen last.

const form = document.getElementById("ask");
const text = document.getElementById("text");
const model = document.getElementById("model");
const most = Number(form.dataset.most);
const figures = new Intl.NumberFormat("en", { useGrouping: true });
const MEMORY = "distilora.model";
let pause;

/** Length in characters as the server counts them: code points, and a line break as one. */
const lengthOf = (value) => [...value].length;
const written = (number) => figures.format(number).replaceAll(",", "\u202f");

function count() {
  const length = lengthOf(text.value);
  document.getElementById("counter").textContent = `${written(length)} of `;
  complain(length > most ? `Too long by ${written(length - most)}; shorten it, or send it in parts.` : "");
  clearTimeout(pause);
  // Screen readers hear of the limit only near it, and only once the person pauses.
  pause = setTimeout(() => hint(length), 1500);
}

function hint(length) {
  const left = most - length;
  document.getElementById("count-live").textContent = left >= 0 && left < most / 10 ? `${left} characters left` : "";
}

function complain(message) {
  const place = document.getElementById("text-problem");
  if (place.textContent !== message) place.textContent = message;
  message ? text.setAttribute("aria-invalid", "true") : text.removeAttribute("aria-invalid");
}

function check(event) {
  if (!text.value.trim()) complain("Paste or write a comment first; this one is empty.");
  if (text.value.trim() && lengthOf(text.value) <= most) return;
  event.preventDefault();
  text.focus();
  // The focus may have been there already, and then nobody would hear of it.
  document.getElementById("live").textContent = document.getElementById("text-problem").textContent;
}

function showThreshold() {
  const field = document.getElementById("threshold-field");
  if (!field) return;
  const { positive, threshold } = model.selectedOptions[0].dataset;
  field.hidden = !positive;
  document.getElementById("threshold").disabled = !positive;
  document.getElementById("positive-names").textContent = positive ? `positive classes (${positive})` : "positive classes";
  document.getElementById("own-threshold").textContent = threshold ? `, ${threshold}` : "";
}

function recall() {
  const known = remembered();
  if (known && !model.hasAttribute("data-chosen") && [...model.options].some((option) => option.value === known)) {
    model.value = known;
  }
}

// A browser may forbid the memory; the form works without.
function remembered() {
  try {
    return localStorage.getItem(MEMORY);
  } catch {
    return null;
  }
}

function remember() {
  try {
    localStorage.setItem(MEMORY, model.value);
  } catch {
    // Forbidden: nothing is remembered.
  }
}

form.addEventListener("submit", check);
text.addEventListener("input", count);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit(form.querySelector("button.primary"));
  }
});
model.addEventListener("change", () => {
  remember();
  showThreshold();
});
document.getElementById("shortcut").hidden = false;
recall();
showThreshold();
if (text.value) count();
