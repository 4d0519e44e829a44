// Fetches the stage anew every second and puts what differs in place; without this script the page loads itself anew.
"use strict";
const gone = document.querySelector("[data-gone]");
const parts = [...document.querySelectorAll("[data-live]")];
let under_way = false;
const refresh = async () => {
  if (document.hidden || under_way) return;
  under_way = true;
  const answer = await fetch("/").catch(() => null);
  gone.hidden = Boolean(answer && answer.ok);
  const text = answer && answer.ok ? await answer.text().catch(() => null) : null;
  under_way = false;
  if (text === null) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of parts) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!next) continue;
    const shown = part.dataset.shown;
    const held = part.contains(document.activeElement);
    putInPlace(part, next);
    // Whoever stood on something that is gone stands on the part that it was in.
    if (held && !part.contains(document.activeElement)) part.focus();
    if (shown !== part.dataset.shown) document.querySelectorAll("iframe").forEach((frame) => frame.contentWindow.location.replace(frame.src));
  }
};
setInterval(refresh, 1000);
document.addEventListener("visibilitychange", refresh);
document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(event.target, event.submitter));
  await fetch(event.target.action, { method: "post", body, redirect: "manual" }).catch(() => null);
  refresh();
});
