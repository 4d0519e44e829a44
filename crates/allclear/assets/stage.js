// Fetches the stage anew every second and puts in what changed; without this script the page loads itself anew.
"use strict";
const gone = document.querySelector("[data-gone]");
const parts = [...document.querySelectorAll("[data-live]")];
const seen = new Map(parts.map((part) => [part, part.innerHTML]));
// What a reader has opened stays open: the same line of the same list, counted from its oldest, which is the last.
const opened = (part) => {
  const all = [...part.querySelectorAll("details")];
  return new Set(all.flatMap((one, at) => (one.open ? [all.length - at] : [])));
};
setInterval(async () => {
  if (document.hidden) return;
  const answer = await fetch("/").catch(() => null);
  if (gone) gone.hidden = Boolean(answer && answer.ok);
  if (!answer || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  let changed = false;
  for (const part of parts) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!next || next.innerHTML === seen.get(part)) continue;
    const open = opened(part);
    const held = part.contains(document.activeElement) ? document.activeElement.textContent : null;
    seen.set(part, next.innerHTML);
    part.innerHTML = next.innerHTML;
    const all = part.querySelectorAll("details");
    all.forEach((one, at) => (one.open = open.has(all.length - at)));
    if (held) [...part.querySelectorAll("a, button, summary")].find((one) => one.textContent === held)?.focus();
    changed = true;
  }
  if (changed) document.querySelectorAll("[data-reload]").forEach((frame) => frame.contentWindow.location.replace(frame.src));
}, 1000);
document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(event.target, event.submitter));
  await fetch(event.target.action, { method: "post", body, redirect: "manual" }).catch(() => null);
});
