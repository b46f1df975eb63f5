"use strict";
// Fetches the page again as often as its figures change, puts the new one in place of the old, and says loudly when
// no answer comes. All rendering is the server's. The token stays in this variable: in no address, storage or cookie.
(() => {
  const LEAST_BACKOFF = 2, MOST_BACKOFF = 30, PATIENCE = 15;
  const main = document.getElementById("main");
  const byId = (id) => document.getElementById(id);
  const policy = window.trustedTypes?.createPolicy("tasker-health", { createHTML: (html) => html });
  let token = null, timer = null, busy = false, again = false, failures = 0, lostAt = null;
  let shownAt = performance.now();

  const seconds = () => Math.max(0, Math.round((performance.now() - shownAt) / 1000));
  const figuresAge = () => {
    const element = main.querySelector("[data-age]");
    return element ? Number(element.dataset.age) + seconds() : null;
  };
  const write = (element, words) => {
    if (element && element.textContent !== words) element.textContent = words;
  };

  function tick() {
    const age = figuresAge();
    if (age === null) return;
    if (seconds() > 0) write(main.querySelector("[data-age]"), `${age} s old`);
    if (lostAt !== null) write(byId("lost-age"), `The figures below are ${age} s old.`);
  }

  // Changes what differs and leaves the rest alone, so that focus, scrolling, selection and open details stay.
  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
    }
    becomeWithin(old, fresh);
  }

  const key = (node) => `${node.nodeName}#${node.id || ""}`;

  function becomeWithin(old, fresh) {
    const wanted = new Set([...fresh.childNodes].map(key));
    for (const child of [...old.childNodes]) if (!wanted.has(key(child))) child.remove();
    let at = old.firstChild;
    for (const child of fresh.childNodes) {
      if (at && key(at) === key(child)) {
        become(at, child);
        at = at.nextSibling;
      } else {
        old.insertBefore(document.importNode(child, true), at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function show(page, fresh) {
    const before = main.dataset.status, had = main.contains(document.activeElement);
    const wasShown = before !== "";
    become(main, fresh);
    document.title = page.title;
    shownAt = performance.now();
    if (had && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
    if (main.dataset.status && wasShown && before !== main.dataset.status) {
      write(byId("said"), `The status has changed from ${before} to ${main.dataset.status}.`);
    } else if (main.dataset.status && !wasShown) {
      write(byId("said"), `The status is ${main.dataset.status}.`);
    }
    byId("signed-in").hidden = token === null;
    prepare();
  }

  function found() {
    if (lostAt !== null) write(byId("said"), "The server answers again.");
    lostAt = null;
    failures = 0;
    byId("lost").hidden = true;
    write(byId("lost-why"), "");
  }

  function lost(why) {
    failures += 1;
    if (lostAt === null) {
      lostAt = new Date();
      document.title = `disconnected: ${document.title}`;
    }
    byId("lost").hidden = false;
    write(byId("lost-why"), `Disconnected since ${lostAt.toLocaleTimeString()}: ${why} It is tried again by itself.`);
    write(byId("lost-age"), "");
    tick();
  }

  function plan() {
    clearTimeout(timer);
    timer = null;
    if (document.hidden) return;
    const refresh = Number(main.dataset.refresh);
    const backoff = Math.min(MOST_BACKOFF, LEAST_BACKOFF * 2 ** Math.min(failures - 1, 10));
    const wait = failures ? backoff : refresh;
    // Not all who look on shall ask at one moment.
    if (wait) timer = setTimeout(look, wait * (0.95 + Math.random() / 10) * 1000);
  }

  async function asked() {
    // Credentials that stand in the address itself may not be in a request.
    const address = location.origin + location.pathname + location.search;
    const headers = { Accept: "text/html" };
    if (token !== null) headers.Authorization = `Bearer ${token}`;
    const response = await fetch(address, {
      headers, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE * 1000),
      credentials: token === null ? "same-origin" : "omit",
    });
    const html = await response.text();
    const page = new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
    return { code: response.status, page, fresh: page.querySelector("main#main[data-status]") };
  }

  async function look() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const used = token;
    try {
      const { code, page, fresh } = await asked();
      if (used !== token) again = true;
      else if (fresh) {
        const refused = code === 401 && used !== null;
        if (refused) token = null;
        found();
        show(page, fresh);
        if (refused) write(byId("token-said"), "This token was not accepted.");
      } else lost(`it answered ${code}, and no status.`);
    } catch (error) {
      lost(error.name === "TimeoutError" ? "it did not answer in time." : "it cannot be reached.");
    }
    busy = false;
    if (again) {
      again = false;
      look();
    } else plan();
  }

  function signIn(event) {
    event.preventDefault();
    const field = byId("token"), given = field.value.trim();
    field.value = "";
    write(byId("token-said"), "");
    // A header holds letters that can be seen, and nothing else.
    if (!/^[\x21-\x7e]+$/.test(given)) {
      write(byId("token-said"), "This is no token.");
      return;
    }
    token = given;
    look();
  }

  function prepare() {
    const form = byId("sign-in");
    if (!form) return;
    form.hidden = false;
    form.onsubmit = signIn;
  }

  byId("sign-out").addEventListener("click", () => {
    token = null;
    // What was shown goes at once, whether or not the server answers.
    main.replaceChildren();
    delete main.dataset.refresh;
    main.dataset.status = "";
    document.title = "Signed out";
    byId("signed-in").hidden = true;
    write(byId("said"), "Signed out.");
    main.focus();
    look();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
  window.addEventListener("online", look);
  window.addEventListener("pageshow", (event) => event.persisted && look());
  setInterval(() => document.hidden || tick(), 1000);
  prepare();
  plan();
})();
