// Puts a fresh tree in the place of an old one and touches only what differs, so that nothing jumps and what is opened or
// focused stays. `kept` may say of a field that it holds a draft, and of a node that it must not go.
const putInPlace = (old, fresh, kept = { isDraft: () => false, mustStay: () => false }) => {
  // Two nodes that are the same thing at two times.
  const key = (node) =>
    node.nodeType === Node.ELEMENT_NODE
      ? `${node.nodeName} ${node.id || node.getAttribute("aria-labelledby") || node.getAttribute("href") || node.className}`
      : node.nodeName;

  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeName === "SELECT" && kept.isDraft(old)) return;
  for (const { name, value } of [...fresh.attributes]) {
    // What was opened stays open, and what was closed stays closed.
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    let same = at;
    while (same && key(same) !== key(next)) same = same.nextSibling;
    if (!same) {
      old.insertBefore(next.cloneNode(true), at);
      continue;
    }
    while (at !== same) {
      const gone = at;
      at = at.nextSibling;
      if (!kept.mustStay(gone)) gone.remove();
    }
    putInPlace(same, next, kept);
    at = same.nextSibling;
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    if (!kept.mustStay(gone)) gone.remove();
  }
};
