// Fetches the stage anew every second and puts in what changed; without this script the page loads itself anew.
"use strict";
setInterval(async () => {
  if (document.hidden) return;
  const answer = await fetch("/").catch(() => null);
  if (!answer || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  let changed = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (next && next.innerHTML !== part.innerHTML && !part.querySelector("details[open]")) {
      part.innerHTML = next.innerHTML;
      changed = true;
    }
  }
  if (changed) document.querySelectorAll("[data-reload]").forEach((frame) => frame.contentWindow.location.replace(frame.src));
}, 1000);
document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(event.target, event.submitter));
  await fetch(event.target.action, { method: "post", body, redirect: "manual" }).catch(() => null);
});
