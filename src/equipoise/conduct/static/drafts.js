// Keeps what is typed. While somebody types, the form is sent to the server as a draft of this page, for them
// alone; when they come back, after a time-out as after a power cut, it is offered again. Before the session
// ends for want of work a warning is shown; when it has ended, the page gives way to the log-in.
//
// Included once in every page:  <script src="drafts.js" defer data-idle-seconds="1200"></script>
// A form that must not be kept has the attribute  data-no-draft ; passwords and codes never are.
(function () {
  "use strict";
  const own = document.currentScript || document.querySelector("script[data-idle-seconds]");
  const IDLE_MS = Number(own.dataset.idleSeconds) * 1000;
  const WARN_MS = Math.min(120000, IDLE_MS / 4);
  const WAIT_MS = 1500;
  const ADDRESS = "/drafts/";
  const SECRET = ["csrfmiddlewaretoken", "request_key", "login", "code", "credential"];
  const page = location.pathname;
  let sending = null;

  function token() {
    const field = document.querySelector("input[name=csrfmiddlewaretoken]");
    const cookie = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie);
    return field ? field.value : cookie ? decodeURIComponent(cookie[1]) : "";
  }

  async function send(told, automatic) {
    const headers = { "Content-Type": "application/json", "X-CSRFToken": token() };
    if (automatic) { headers["Equipoise-Automatic"] = "1"; }
    sending = new AbortController();
    const answer = await fetch(ADDRESS, {
      method: "POST", signal: sending.signal, credentials: "same-origin", headers: headers, keepalive: true,
      body: JSON.stringify(Object.assign({ page: page }, told)),
    });
    if (!answer.ok) { throw new Error(String(answer.status)); }
    return answer.json();
  }

  function forms() {
    return Array.from(document.querySelectorAll("form")).filter(function (form) {
      return form.method === "post" && !form.hasAttribute("data-no-draft");
    });
  }

  function fieldsOf(form) {
    return Array.from(form.elements).filter(function (field) {
      return field.name && !SECRET.includes(field.name) && !field.name.startsWith("password") &&
        !field.name.startsWith("oldpassword") &&
        !["password", "hidden", "submit", "button", "file", "reset", "image"].includes(field.type);
    });
  }

  function content() {
    const found = {};
    for (const form of forms()) {
      for (const field of fieldsOf(form)) {
        const chosen = field.type === "checkbox" || field.type === "radio";
        found[field.name] = found[field.name] || [];
        if (!chosen || field.checked) { found[field.name].push(field.value); }
      }
    }
    return found;
  }

  function same(one, other) {
    const names = new Set(Object.keys(one).concat(Object.keys(other)));
    return Array.from(names).every(function (name) {
      const left = one[name] || [], right = other[name] || [];
      return left.filter(String).join("\n") === right.filter(String).join("\n");
    });
  }

  function putBack(kept) {
    const places = {};
    for (const form of forms()) {
      for (const field of fieldsOf(form)) {
        const values = kept[field.name];
        if (!values) { continue; }
        if (field.type === "checkbox" || field.type === "radio") {
          field.checked = values.includes(field.value);
        } else {
          const n = places[field.name] || 0;
          places[field.name] = n + 1;
          if (values[n] !== undefined) { field.value = values[n]; }
        }
        field.dispatchEvent(new Event("change", { bubbles: true }));
      }
    }
  }

  function button(words, quiet, then) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = quiet ? "button quiet small" : "button small";
    made.textContent = words;
    made.addEventListener("click", then);
    return made;
  }

  function notice(kind, words, role) {
    const made = document.createElement("div");
    made.className = "callout " + kind;
    made.setAttribute("role", role);
    const line = document.createElement("p");
    line.textContent = words;
    made.append(line);
    const main = document.querySelector("main") || document.body;
    main.prepend(made);
    return made;
  }

  function offer(kept, at) {
    const when = new Date(at).toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" });
    const made = notice("info", "On " + when + " you typed something here that was not saved.", "status");
    made.id = "draft-offer";
    const buttons = document.createElement("div");
    buttons.className = "buttons";
    buttons.append(
      button("Put it back", false, function () { putBack(kept); made.remove(); typed = true; }),
      button("Throw it away", true, function () { made.remove(); send({ do: "forget" }).catch(function () {}); })
    );
    made.append(buttons);
  }

  let typed = false, timer = null, last = Date.now(), warned = null;

  function present() {
    last = Date.now();
    try { localStorage.setItem("equipoise-seen", String(last)); } catch (error) { /* kept in this page only */ }
    if (warned) { warned.remove(); warned = null; }
  }

  function keep(automatic) {
    clearTimeout(timer);
    if (!typed) { return Promise.resolve(); }
    return send({ do: "keep", content: content() }, automatic).then(function () {
      if (!automatic) { present(); }
    }).catch(function (error) {
      if (error.message === "401") { leave(); }
    });
  }

  function leave() {
    location.assign("/account/login/?next=" + encodeURIComponent(page));
  }

  function lastSeen() {
    let elsewhere = 0;
    try { elsewhere = Number(localStorage.getItem("equipoise-seen")) || 0; } catch (error) { /* none */ }
    return Math.max(last, elsewhere);
  }

  function watch() {
    const idle = Date.now() - lastSeen();
    if (idle >= IDLE_MS) { keep(true).finally(leave); return; }
    if (idle >= IDLE_MS - WARN_MS && !warned) {
      keep(true);
      const minutes = Math.max(1, Math.round((IDLE_MS - idle) / 60000));
      warned = notice("warn", "Nothing was done for a while: in about " + minutes + (minutes === 1 ? " minute" : " minutes") +
        " you are logged out. What you typed is kept.", "alert");
      warned.id = "idle-warning";
      warned.append(button("Go on working", false, function () {
        send({ do: "give" }).then(present).catch(leave);
      }));
    } else if (warned && idle < IDLE_MS - WARN_MS) {
      warned.remove();
      warned = null;
    }
  }

  document.addEventListener("input", function (event) {
    const form = event.target.form;
    if (!form || !forms().includes(form) || !fieldsOf(form).includes(event.target)) { return; }
    typed = true;
    clearTimeout(timer);
    timer = setTimeout(function () { keep(false); }, WAIT_MS);
  });
  document.addEventListener("submit", function () {
    clearTimeout(timer);
    typed = false;  // what is sent now is the form itself, which forgets the draft
    if (sending) { sending.abort(); }
  }, true);
  document.addEventListener("htmx:afterRequest", function () { present(); if (typed) { keep(false); } });
  document.addEventListener("visibilitychange", function () {
    if (document.visibilityState === "visible") { watch(); } else { keep(true); }
  });

  present();
  setInterval(watch, Math.min(5000, IDLE_MS / 20));
  if (forms().some(function (form) { return fieldsOf(form).length > 0; })) {
    const began = content();
    send({ do: "give" }, true).then(function (answer) {
      if (!answer.content) { return; }
      const shared = Object.fromEntries(Object.entries(answer.content).filter(function (pair) { return pair[0] in began; }));
      if (same(shared, Object.fromEntries(Object.entries(began).filter(function (pair) { return pair[0] in shared; })))) {
        send({ do: "forget" }, true).catch(function () {});
      } else {
        offer(shared, answer.saved_at);
      }
    }).catch(function () {});
  }
})();
