// Keys in forms: a number picks a coded answer, a letter says why there is none. Everything works without it.
(function () {
  "use strict";

  var WHY = { d: "not done", u: "unknown", a: "not applicable", r: "refused", w: "awaited" };

  function choose(select, value) {
    select.value = value;
    select.classList.toggle("chosen", value !== "");
    select.dispatchEvent(new Event("change", { bubbles: true }));
    select.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // In a group of coded answers: 1, 2, 3 pick; d, u, a, r, w say why there is no answer; Backspace clears.
  document.addEventListener("keydown", function (event) {
    var group, boxes, digit, missing;
    if (event.ctrlKey || event.altKey || event.metaKey || !event.target.matches("input[type=radio]")) { return; }
    group = event.target.closest("[data-digits]");
    if (!group) { return; }
    boxes = group.querySelectorAll("input[type=radio]");
    digit = Number(event.key);
    if (digit >= 1 && digit <= boxes.length) {
      event.preventDefault();
      boxes[digit - 1].checked = true;
      boxes[digit - 1].focus();
      boxes[digit - 1].dispatchEvent(new Event("change", { bubbles: true }));
      boxes[digit - 1].dispatchEvent(new Event("input", { bubbles: true }));
      return;
    }
    missing = event.target.closest(".item") && event.target.closest(".item").querySelector("select.missing");
    if (missing && Object.prototype.hasOwnProperty.call(WHY, event.key.toLowerCase())) {
      event.preventDefault();
      boxes.forEach(function (box) { box.checked = false; });
      choose(missing, WHY[event.key.toLowerCase()]);
    }
    if (event.key === "Backspace" || event.key === "Delete") {
      event.preventDefault();
      boxes.forEach(function (box) { box.checked = false; });
      if (missing) { choose(missing, ""); }
    }
  });

  // An answer and a reason why there is none exclude each other.
  document.addEventListener("change", function (event) {
    var item = event.target.closest(".item"), missing;
    if (!item) { return; }
    missing = item.querySelector("select.missing");
    if (event.target === missing) {
      missing.classList.toggle("chosen", missing.value !== "");
      if (missing.value !== "") {
        item.querySelectorAll("input[type=radio]").forEach(function (box) { box.checked = false; });
      }
    } else if (missing && event.target.matches("input[type=radio]") && event.target.checked) {
      missing.value = "";
      missing.classList.remove("chosen");
    }
    progress();
  });

  function answered(item) {
    var missing = item.querySelector("select.missing");
    if (missing && missing.value !== "") { return true; }
    if (item.querySelector("input[type=radio]:checked")) { return true; }
    return Array.prototype.some.call(item.querySelectorAll("[data-answer]"), function (one) {
      return one.value.trim() !== "";
    });
  }

  function progress() {
    var bar = document.querySelector("progress[data-progress]"), items, done;
    if (!bar) { return; }
    items = document.querySelectorAll(".item");
    done = Array.prototype.filter.call(items, answered).length;
    bar.value = done;
    document.querySelector("[data-progress-words]").textContent = done + " of " + items.length + " answered";
  }
  document.addEventListener("input", progress);

  // Alt+P goes to the one before, as Alt+N goes to the next.
  document.addEventListener("keydown", function (event) {
    var before;
    if (event.altKey && !event.ctrlKey && event.key.toLowerCase() === "p") {
      before = document.querySelector("main [data-key=previous]");
      if (before) { event.preventDefault(); before.click(); }
    }
  });
}());
