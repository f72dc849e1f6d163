// Passkeys: a form with data-passkey="get" or "create" asks the server what to sign, lets the browser sign it,
// and sends the answer as the form's field `answer`.
"use strict";
const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function sign(form) {
  const reply = await fetch(form.dataset.options, { method: "POST", credentials: "same-origin" });
  if (!reply.ok) throw new Error(reply.statusText);
  const options = await reply.json();
  options.challenge = bytes(options.challenge);
  if (options.user) options.user.id = bytes(options.user.id);
  for (const name of ["excludeCredentials", "allowCredentials"]) {
    for (const each of options[name] || []) each.id = bytes(each.id);
  }
  const made = await navigator.credentials[form.dataset.passkey]({ publicKey: options });
  const response = { clientDataJSON: text(made.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (made.response[name]) response[name] = text(made.response[name]);
  }
  return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });
}

if (window.PublicKeyCredential) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const fault = form.querySelector(".fault");
      fault.hidden = true;
      try {
        form.elements.answer.value = await sign(form);
      } catch {
        fault.hidden = false;
        return;
      }
      form.submit();
    });
  }
}
