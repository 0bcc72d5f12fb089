// Keys and small helps. Every page works without this file; nothing is fetched from elsewhere.
(function () {
  "use strict";

  function typing(target) {
    return target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
  }

  function first(selector) {
    return document.querySelector("main " + selector);
  }

  document.addEventListener("keydown", function (event) {
    var save, next;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s") {
      event.preventDefault();
      save = first("[data-key=save]");
      if (save) { save.click(); }
      return;
    }
    if (event.altKey && !event.ctrlKey && event.key.toLowerCase() === "n") {
      next = first("[data-key=next], a[rel=next]");
      if (next) { event.preventDefault(); next.click(); }
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) { return; }
    if (event.key === "/") {
      next = document.getElementById("find");
      if (next) { event.preventDefault(); next.focus(); next.select(); }
    } else if (event.key === "?") {
      next = document.getElementById("keys");
      if (next && !next.open) { event.preventDefault(); next.showModal(); }
    }
  });

  document.addEventListener("click", function (event) {
    var target = event.target.closest("[data-print], [data-show-keys], [data-close]");
    var menus = document.querySelectorAll("details.person[open]");
    menus.forEach(function (menu) {
      if (!menu.contains(event.target)) { menu.open = false; }
    });
    if (!target) { return; }
    if (target.hasAttribute("data-print")) { window.print(); }
    if (target.hasAttribute("data-show-keys")) { document.getElementById("keys").showModal(); }
    if (target.hasAttribute("data-close")) { target.closest("dialog").close(); }
  });

  document.addEventListener("keydown", function (event) {
    var menu = event.target.closest && event.target.closest("details.person[open]");
    if (event.key === "Escape" && menu) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  // A filter that is chosen is applied at once.
  document.addEventListener("change", function (event) {
    if (event.target.matches("select[data-submit]")) { event.target.form.requestSubmit(); }
  });

  // A form that was changed asks before it is left.
  var changed = false;
  document.addEventListener("input", function (event) {
    if (event.target.closest("form[data-guard]")) { changed = true; }
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    changed = false;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post" && !form.hasAttribute("hx-post")) {
      form.dataset.sent = "1";
      window.setTimeout(function () { delete form.dataset.sent; }, 5000);
    }
  });
  window.addEventListener("beforeunload", function (event) {
    if (changed) { event.preventDefault(); }
  });
  document.addEventListener("htmx:afterRequest", function (event) {
    if (event.detail.successful && event.target.closest("form[data-guard]")) { changed = false; }
  });
}());
