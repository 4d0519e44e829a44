// Keeps an open page as it is now: when the server says that something changed, the page is fetched again and what differs
// is put in place. What is typed, opened or focused stays. Without this script every page works after a reload.
(() => {
  "use strict";
  const live = [...document.querySelectorAll("[data-live]")];
  if (live.length === 0 || !window.EventSource) return;

  const isField = (node) => node && ["INPUT", "TEXTAREA", "SELECT"].includes(node.nodeName);
  // What somebody has begun to write or to choose.
  const isDraft = (field) => {
    if (field.type === "hidden") return false;
    if (field.nodeName === "SELECT") return [...field.options].some((one) => one.selected !== one.defaultSelected && one.defaultSelected);
    return field.value !== field.defaultValue;
  };
  const holdsDraft = (node) =>
    node.nodeType === Node.ELEMENT_NODE &&
    ((isField(document.activeElement) && node.contains(document.activeElement)) || [...node.querySelectorAll("input, textarea, select")].some(isDraft));
  const kept = { isDraft, mustStay: holdsDraft };

  let busy = false;
  let again = false;
  const refresh = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const response = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (response.status === 401) {
        location.reload();
        return;
      }
      if (response.ok) {
        const focused = document.activeElement;
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const region of live) {
          const next = fresh.getElementById(region.id);
          if (next) putInPlace(region, next, kept);
        }
        document.title = fresh.title;
        // Whoever stood on something that is gone goes on from the top.
        const heading = document.querySelector("main h1");
        if (focused && !focused.isConnected && heading) {
          heading.tabIndex = -1;
          heading.focus({ preventScroll: true });
        }
      }
    } catch {
      // The server is away; the stream opens again when it is back.
    } finally {
      // A page that listens to a busy server asks every few seconds and not more.
      setTimeout(() => {
        busy = false;
        if (again) {
          again = false;
          refresh();
        }
      }, 2000);
    }
  };

  let source = null;
  let clock = null;
  const follow = () => {
    if (document.hidden) {
      if (source) source.close();
      clearInterval(clock);
      source = null;
      return;
    }
    if (source) return;
    source = new EventSource("/live");
    source.addEventListener("changed", refresh);
    // "5 s ago" grows old though nothing changes.
    clock = setInterval(refresh, 20000);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
    follow();
  });
  follow();
})();
