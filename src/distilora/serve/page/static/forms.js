// Posts forms marked `data-swap` without loading the page again: the answer is the same page that a browser without
// scripts gets, and its parts marked `data-region` take the place of this page's. A form's trouble is said in the
// element that its `data-message` names (else #message).

const LONGEST_WAIT_MS = 60_000;
const live = document.getElementById("live");

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("form[data-swap]")) return;
  event.preventDefault();
  if (form.getAttribute("aria-busy") !== "true") post(form, event.submitter);
});

async function post(form, button) {
  const region = regionOf(form);
  setBusy(form, button, region, true);
  slotOf(form).replaceChildren();
  try {
    await show(await fetch(form.getAttribute("action"), requestOf(form, button)), form);
  } catch (error) {
    say(form, ...(error.name === "TimeoutError" ? tooLong() : unreachable()));
  } finally {
    setBusy(form, button, region, false);
  }
}

function requestOf(form, button) {
  return {
    method: "POST",
    body: new URLSearchParams(new FormData(form, button)),
    headers: { Accept: "text/html" },
    signal: AbortSignal.timeout(LONGEST_WAIT_MS),
  };
}

async function show(response, form) {
  const type = response.headers.get("Content-Type") ?? "";
  if (response.status === 401 || new URL(response.url).pathname === "/sign-in") return say(form, ...signedOut());
  if (type.startsWith("application/problem+json")) return say(form, ...toldBy(await response.json(), response));
  if (!type.startsWith("text/html")) return say(form, ...odd(response));
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const swapped = swap(page);
  if (!swapped && !response.ok) sayAs(form, page, response);
}

/** Put the regions of an answered page in place of ours; returns whether one of them was not empty. */
function swap(page) {
  let filled = false;
  for (const fresh of page.querySelectorAll("[data-region]")) {
    const old = fresh.parentElement.closest("[data-region]") ? null : document.getElementById(fresh.id);
    if (!old) continue;
    old.replaceWith(document.adoptNode(fresh));
    filled ||= fresh.textContent.trim() !== "";
    if (fresh.dataset.say) announce(fresh);
  }
  for (const field of page.querySelectorAll("#ask [name]")) markWrong(field);
  return filled;
}

function markWrong(field) {
  const ours = document.getElementById(field.id);
  if (!ours) return;
  const wrong = field.getAttribute("aria-invalid") === "true";
  wrong ? ours.setAttribute("aria-invalid", "true") : ours.removeAttribute("aria-invalid");
  if (wrong) ours.focus();
}

function announce(region) {
  live.textContent = "";
  live.textContent = region.dataset.say;
  const { top, bottom } = region.getBoundingClientRect();
  if (top >= 0 && Math.min(bottom, top + 160) <= innerHeight) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  region.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

function setBusy(form, button, region, busy) {
  for (const each of [form, region]) {
    busy ? each?.setAttribute("aria-busy", "true") : each?.removeAttribute("aria-busy");
  }
  button?.classList.toggle("working", busy);
  for (const each of form.querySelectorAll("button")) {
    busy ? each.setAttribute("aria-disabled", "true") : each.removeAttribute("aria-disabled");
  }
}

const regionOf = (form) => (form.id === "ask" ? document.getElementById("result") : null);
const slotOf = (form) => document.getElementById(form.dataset.message ?? "message");

/** Say what went wrong; every sentence is text, never markup, or an element made here. */
function say(form, title, ...sentences) {
  const notice = document.createElement("div");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  const head = document.createElement("strong");
  head.textContent = title;
  notice.append(head);
  for (const sentence of sentences) {
    const paragraph = document.createElement("p");
    paragraph.append(sentence);
    notice.append(paragraph);
  }
  slotOf(form).replaceChildren(notice);
}

function sayAs(form, page, response) {
  const alert = page.querySelector("[role=alert]");
  const title = page.querySelector("h1")?.textContent;
  if (!alert) return say(form, ...odd(response));
  const sentences = [...alert.querySelectorAll("p")].map((paragraph) => paragraph.textContent);
  say(form, alert.querySelector("strong")?.textContent ?? title, ...sentences, ...waiting(response));
}

function waiting(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return seconds ? [`Try again in ${seconds} s; nothing you wrote is lost.`] : [];
}

const sentence = (text = "") => text && `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
const toldBy = (problem, response) => [problem.title, sentence(problem.detail), ...waiting(response)];
const tooLong = () => ["The answer took too long", "Try again, or with a shorter text."];
const unreachable = () => [
  "The server cannot be reached",
  "Is it still running, and this device online? What you wrote is still here; try again.",
];
const signedOut = () => ["You are signed out", signInLink(), "Then send this again. What you wrote is still here."];
const odd = (response) => [`The server answered with status ${response.status}`, "Try again; if it stays, see its log."];

function signInLink() {
  const link = document.createElement("a");
  Object.assign(link, { href: "/sign-in", target: "_blank", textContent: "Sign in, in a tab of its own" });
  return link;
}
