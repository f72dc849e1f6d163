// What pages do beside what their HTML does: copying a text. Everything works without it.
"use strict";
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const label = button.dataset.label ??= button.textContent; // it may show already that it was pressed
    const field = button.parentElement.querySelector("input");
    try {
      await navigator.clipboard.writeText(field.value);
    } catch { // the browser or its user does not allow it: then it is marked, to be copied by hand
      field.select();
      return;
    }
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = label; }, 2000);
  }
});
document.addEventListener("focusin", (event) => {
  if (event.target.matches(".copy input")) event.target.select();
});
