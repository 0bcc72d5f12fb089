// Says in words why a passkey was not taken; what the library finds is told on the page, not in the console.
(function () {
  "use strict";
  document.addEventListener("allauth.error", function (event) {
    const place = document.getElementById("passkey-trouble");
    if (!place) { return; }
    event.preventDefault();
    const named = /^\d+(\.\d+){3}$|^\[/.test(location.hostname);
    const words = document.createElement("p");
    words.className = "trouble";
    words.textContent = named
      ? "Passkeys work only under a name, not under a bare address: open this page as http://localhost, or under the name of the server."
      : "The passkey was not used: nothing was changed. Try again, or use the other way.";
    place.replaceChildren(words);
  });
})();
