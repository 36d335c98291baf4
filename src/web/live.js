// Keeps an open page current: when the run changes, the page is fetched again and what differs is
// put in place. The server renders everything; without this script the page is merely not live.
"use strict";
(() => {
  const live = document.querySelector("[data-events]");
  if (!live || !window.EventSource) return;

  const PAUSE = 700; // ms between two fetches of the page
  const TICK = 10000; // ms after which times that run are brought up to date
  let wanted = false;
  let busy = false;
  let over = false;

  // Makes `old` like `fresh`, touching only what differs: focus, selection, scroll and opened
  // details stay as they are.
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    before.slice(after.length).forEach((node) => node.remove());
    after.forEach((node, index) => {
      if (index < before.length) morph(before[index], node);
      else old.appendChild(document.importNode(node, true));
    });
  };

  const atEnd = () =>
    window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 40;

  const refresh = async () => {
    if (busy) {
      wanted = true;
      return;
    }
    busy = true;
    wanted = false;
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const follow = document.getElementById("log") !== null && atEnd();
        for (const part of document.querySelectorAll("[data-live]")) {
          const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
          if (fresh) morph(part, fresh);
        }
        document.title = page.title;
        const icon = page.querySelector("link[rel=icon]");
        if (icon) document.querySelector("link[rel=icon]").href = icon.href;
        if (follow) window.scrollTo(0, document.documentElement.scrollHeight);
      }
    } catch {
      wanted = !over; // the server restarts, or the network is away: try again
    }
    setTimeout(() => {
      busy = false;
      if (wanted) refresh();
    }, PAUSE);
  };

  const events = new EventSource(live.dataset.events);
  const mine = (event) => {
    if (!live.dataset.log) return false;
    const { connector, step } = JSON.parse(event.data);
    return live.dataset.log === `${connector}/${step}`;
  };
  const ticking = setInterval(() => {
    if (!document.hidden) refresh();
  }, TICK);
  for (const kind of ["connector", "step"]) events.addEventListener(kind, refresh);
  events.addEventListener("log", (event) => mine(event) && refresh());
  events.addEventListener("run", (event) => {
    refresh();
    if (JSON.parse(event.data).state === "concluded") {
      over = true;
      wanted = true;
      events.close();
      clearInterval(ticking);
    }
  });
})();
