// Keeps an open page as it is now: when the server says that something changed, the page is fetched again and what differs
// is put in place. What is typed, opened or focused stays. Without this script every page works after a reload.
(() => {
  "use strict";
  const live = [...document.querySelectorAll("[data-live]")];
  if (live.length === 0 || !window.EventSource) return;

  const put = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) old.data = fresh.data;
      else old.replaceWith(fresh.cloneNode(true));
      return;
    }
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) {
      // An opened <details> stays open.
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    const [mine, theirs] = [[...old.childNodes], [...fresh.childNodes]];
    theirs.forEach((node, n) => (n < mine.length ? put(mine[n], node) : old.append(node.cloneNode(true))));
    mine.slice(theirs.length).forEach((node) => node.remove());
  };

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
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const region of live) {
          const next = fresh.getElementById(region.id);
          if (next) put(region, next);
        }
        document.title = fresh.title;
      }
    } catch {
      // The server is away; the stream opens again when it is back.
    } finally {
      busy = false;
      if (again) {
        again = false;
        setTimeout(refresh, 1000);
      }
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
